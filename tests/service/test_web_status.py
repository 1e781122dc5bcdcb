"""The status page and what it counts: minutes, answers, errors, and where a server did not run."""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from asgi import ask, ask_in_turn, getting, posting
from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.http.exchange import Exchange
from gigarank.service.pulse import FILE, KEPT_HOURS, Hour, Pulse, total
from gigarank.service.settings import Settings
from gigarank.service.web.status_pages import days, spans

HOUR_S = 3_600
NOON = 1_764_590_400.0 - 1_764_590_400.0 % 86_400 + 12 * HOUR_S


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def answer(ms: float, status: int = 200, tokens: int = 5) -> Exchange:
    return Exchange("r", "POST", "/v1/rerank", status, ms, tokens=tokens)


@pytest.fixture(params=["memory", "file"])
def pulse(request: pytest.FixtureRequest, tmp_path: Path) -> Pulse:
    return Pulse(None if request.param == "memory" else tmp_path / "state" / FILE, Clock())


def test_answers_and_errors_are_counted_by_the_hour(pulse: Pulse) -> None:
    assert pulse.hours() == []
    for exchange in (answer(7.0), answer(10.0), answer(90.0), answer(99_999.0), answer(1.0, 200, 0), answer(1.0, 503, 0)):
        pulse.note(exchange)
    pulse.beat(ready=False)
    pulse.note(answer(30.0))
    pulse.beat(ready=True)
    (hour,) = pulse.hours()
    assert (hour.hour, hour.up, hour.ready, hour.requests, hour.errors) == (int(NOON) // HOUR_S, 2, 1, 5, 1)
    assert hour.buckets == (2, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1)


def test_hours_that_are_too_old_go(pulse: Pulse) -> None:
    clock: Any = pulse.clock
    pulse.beat(ready=True)
    clock.now += (KEPT_HOURS - 1) * HOUR_S
    pulse.beat(ready=True)
    assert len(pulse.hours()) == 2
    clock.now += HOUR_S
    pulse.beat(ready=True)
    assert [hour.hour for hour in pulse.hours()] == [int(clock.now) // HOUR_S - 1, int(clock.now) // HOUR_S]


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    first, second = (Pulse(tmp_path / FILE, Clock()) for _ in range(2))
    first.beat(ready=True)
    second.beat(ready=True)
    assert [hour.ready for hour in second.hours()] == [2]


def test_a_file_that_cannot_be_written_is_given_up_and_the_server_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(b"this is no database at all, and long enough to be looked at" * 20)
    pulse = Pulse(tmp_path / FILE, Clock())

    async def work() -> None:
        running = asyncio.create_task(pulse.run(lambda: True))
        while not caplog.records:
            await asyncio.sleep(0)
        assert not running.done()
        running.cancel()

    with caplog.at_level(logging.WARNING):
        asyncio.run(asyncio.wait_for(work(), 30))
    assert "the status is kept in memory from now on" in caplog.text
    pulse.beat(ready=True)
    assert [hour.ready for hour in pulse.hours()] == [1]


def hour(when: int, ready: int = 60, up: int = 60, **more: int) -> Hour:
    buckets = tuple(more.get(f"b{place}", 0) for place in range(12))
    return Hour(when, up, ready, sum(buckets), more.get("errors", 0), buckets)


def test_a_quantile_is_the_bound_that_so_many_did_not_exceed() -> None:
    found = hour(1, b0=50, b3=45, b11=5)
    assert (found.quantile(0.5), found.quantile(0.95), found.quantile(0.99)) == (10, 100, None)
    assert hour(1).quantile(0.5) is None


def test_hours_add_up() -> None:
    found = total([hour(5, 30, 40, b1=2, errors=1), hour(6, b1=3, b2=1)])
    assert (found.hour, found.up, found.ready, found.requests, found.errors) == (5, 100, 90, 6, 1)
    assert found.buckets[1:3] == (5, 1)
    assert total([]).requests == 0


NOW_HOUR = int(NOON) // HOUR_S


def uptimes(hours: list[Hour], now: float = NOON) -> list[float | None]:
    return [None if span.uptime is None else round(span.uptime, 4) for span in spans(hours, now)]


def test_uptime_is_of_the_time_since_the_first_measurement() -> None:
    assert uptimes([]) == [None, None, None]
    assert uptimes([hour(NOW_HOUR, 10, 10)], NOON + 600) == [1.0, 1.0, 1.0]
    assert uptimes([hour(NOW_HOUR, 5, 10)], NOON + 600) == [0.5, 0.5, 0.5]


def test_a_gap_is_time_in_which_the_server_was_down() -> None:
    assert uptimes([hour(NOW_HOUR - 4), hour(NOW_HOUR - 1)]) == [0.5, 0.5, 0.5]
    old = [hour(NOW_HOUR - 48), hour(NOW_HOUR - 1)]
    assert uptimes(old) == [round(60 / (23 * 60), 4), round(120 / (48 * 60), 4), round(120 / (48 * 60), 4)]


def test_days_before_the_first_measurement_have_none() -> None:
    found = days([hour(NOW_HOUR - 13, 30), hour(NOW_HOUR - 1)], NOON)
    assert len(found) == 90
    assert [span.uptime for span in found[:-2]] == [None] * 88
    assert found[-2].uptime == 0.5
    assert found[-1].uptime == pytest.approx(60 / (12 * 60))


def test_a_day_without_a_server_in_between_is_down() -> None:
    found = days([hour(NOW_HOUR - 60), hour(NOW_HOUR)], NOON + HOUR_S)
    assert found[-2].uptime == 0.0


def text_of(app: Any) -> str:
    reply = ask(app, getting("/status", accept="text/html"))
    assert reply.status == 200
    return reply.body.decode()


def test_the_page_tells_the_state_and_what_was_counted(tmp_path: Path) -> None:
    app = create_app(Settings(models=("fake",), state_dir=str(tmp_path)), FakeBackend())
    text = text_of(app)
    assert "The server answers." in text and text.count("not measured") >= 3
    assert len(re.findall(r'<rect class="none"', text)) == 90
    body = {"query": "plants", "documents": ["plants"]}
    replies = ask_in_turn(app, posting(body), posting(body))
    assert [reply.status for reply in replies] == [200, 200]
    assert (tmp_path / FILE).exists()
    again = create_app(Settings(models=("fake",), state_dir=str(tmp_path)), FakeBackend())
    assert "100.00%" in text_of(again)


def test_the_markdown_has_the_figures_of_the_page() -> None:
    app = create_app(Settings(models=("fake",)), FakeBackend())
    requests = [getting(path, accept=kind) for path, kind in (("/status", "text/html"), ("/status.md", "text/html"))]
    page, reply, other = ask_in_turn(app, *requests, getting("/status.md", accept="*/*"))
    assert reply.headers["content-type"] == other.headers["content-type"] == "text/markdown; charset=utf-8"
    text = reply.body.decode()
    assert text.startswith("# Status\n\nThe server answers. ") and "| fake | ready | 0 |\n" in text
    found = re.findall(r"^\| (last [^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", text, re.MULTILINE)
    assert [row[0] for row in found] == ["last 24 hours", "last 7 days", "last 90 days"]
    for row in found:  # a figure that changes with the minute may have done so in between
        cells = [row[0], r"[^<]+", *map(re.escape, row[2:])]
        assert re.search(r"<tr>" + "".join(rf"<t[hd][^>]*>{cell}</t[hd]>" for cell in cells), page.body.decode())


class Starting(FakeBackend):
    def ready(self) -> bool:
        return False


def test_a_server_that_is_not_ready_says_so() -> None:
    assert "Some models are not ready yet." in text_of(create_app(Settings(models=("fake",)), Starting()))


def test_without_pages_nothing_is_kept(tmp_path: Path) -> None:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), pages=False)
    ask_in_turn(create_app(settings, FakeBackend()), getting("/health"))
    assert not (tmp_path / FILE).exists()
