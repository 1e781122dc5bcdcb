"""Onboarding that a server starts: one at a time, seen by every server of the machine, stopped, and begun again."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asgi import Reply
from forms import Page, fill, follow, look, send
from gigarank.cli.onboard import _run
from gigarank.errors import InvalidInput
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.catalogue import service as catalogue
from gigarank.service.catalogue.onboarding import FOLDER, Onboarding, Running
from gigarank.service.catalogue.steps import Plan, words_of
from gigarank.service.db import Database
from gigarank.service.hosted import open_database
from gigarank.service.settings import Settings
from gigarank.service.web.onboard_pages import standing
from people import Browser, Town

PLAN = Plan("nano", data=("/sets/a",), limit=3)
WAITS = """
import os, sys
print("asked", *sys.argv[1:], os.environ["GIGARANK_DATABASE_URL"], file=sys.stderr, flush=True)
os.read(os.open(os.environ["GATE"], os.O_RDONLY), 1)
print("done", file=sys.stderr)
"""
"""Stands in for the program: says what it was given, and ends when somebody opens the gate."""


class Gate:
    """A pipe with a name, on which a process waits for a byte: one for each `open`, before it waits or afterwards."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        os.mkfifo(self.path)
        self.end = os.open(self.path, os.O_RDWR)

    def open(self) -> None:
        os.write(self.end, b"x")


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(tmp_path)
    monkeypatch.setenv("GATE", str(made.path))
    yield made
    os.close(made.end)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=str(tmp_path), database_url=f"sqlite:///{tmp_path / 'test.db'}")


@pytest.fixture
def onboarding(tmp_path: Path) -> Iterator[Onboarding]:
    made = Onboarding(tmp_path / FOLDER, (sys.executable, "-c", WAITS))
    yield made
    found = made.running()
    if found is not None:
        os.killpg(found.process, signal.SIGKILL)
    until_ended()


def until_ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "onboarding":
            thread.join(30)


def test_one_at_a_time_runs_and_every_server_sees_it(onboarding: Onboarding, settings: Settings, gate: Gate) -> None:
    assert onboarding.running() is None and onboarding.said("nano") == ""
    started = onboarding.start(PLAN, settings)
    other = Onboarding.of(settings)
    assert other.running() == started == Running("nano", started.process, started.since)
    with pytest.raises(InvalidInput, match="model: nano is being onboarded, and one at a time is") as refused:
        other.start(replace(PLAN, model="qwen3-reranker-8b"), settings)
    assert refused.value.param == "model"
    gate.open()
    until_ended()
    assert other.running() is None
    said = onboarding.said("nano")
    assert said == f"asked {' '.join(words_of(PLAN))} {settings.database_url}\ndone\n"
    assert settings.database_url not in " ".join(words_of(PLAN))


def test_it_is_stopped_and_begun_again(onboarding: Onboarding, settings: Settings, gate: Gate) -> None:
    with pytest.raises(InvalidInput, match="nothing is being onboarded"):
        onboarding.stop()
    first = onboarding.start(PLAN, settings)
    Onboarding.of(settings).stop()
    until_ended()
    assert onboarding.running() is None and onboarding.said("nano").endswith("stopped by an operator\n")
    assert onboarding.start(PLAN, settings).process != first.process
    gate.open()
    until_ended()
    assert "stopped by" not in onboarding.said("nano")


def test_whoever_looks_keeps_nobody_from_starting(onboarding: Onboarding, settings: Settings, gate: Gate) -> None:
    ended = threading.Event()

    def look_on() -> None:
        while not ended.is_set():
            onboarding.running()

    watching = [threading.Thread(target=look_on) for _ in range(2)]
    onboarding.start(PLAN, settings)
    gate.open()
    until_ended()
    for thread in watching:
        thread.start()
    onboarding.start(PLAN, settings)
    ended.set()
    for thread in watching:
        thread.join()
    gate.open()


def test_a_server_without_a_folder_starts_nothing(onboarding: Onboarding, settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="without state_dir"):
        Onboarding.of(Settings())
    with pytest.raises(InvalidInput, match="data: folders to evaluate it on are expected"):
        onboarding.start(Plan("nano"), settings)
    assert onboarding.running() is None


def test_the_command_has_all_of_the_plan() -> None:
    plan = Plan("a/-b", ("/s 1", "--x"), "", 7, 3, "4b", "/models/b", "/r", "int8")
    given = ["--data=/s 1", "--data=--x", "--shape=4b", "--load=/models/b", "--results=/r", "--dtype=int8"]
    given += ["--limit=7", "--docs=3"]
    assert list(words_of(plan)) == ["admin", "onboard", *given, "--json", "--", "a/-b"]


def test_what_a_step_says_is_said_on_and_what_it_prints_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('x' * 200_000); print('half way', file=sys.stderr); print('{}'); sys.exit(3)"
    done = _run((sys.executable, "-c", code))
    assert done.returncode == 3 and done.stdout.splitlines()[1:] == ["{}"] and done.stderr == "half way\n"
    assert capfd.readouterr() == ("", "half way\n")


FIGURE = {
    "step": "doctor",
    "at": 1_795_000_000,
    "command": ["gigarank"],
    "result": {"checks": [{"passed": True}], "passed": True},
}
BENCH = {"step": "bench", "at": 1_795_000_001, "command": ["gigarank"], "result": {"pairs_per_second": 4.5}}
MEASURED = {"set": {"name": "fish"}, "main_metric": "ndcg_cut_10", "metrics": {"ndcg_cut_10": {"reranked": 0.4434}}}
EVALUATED = {"step": "evaluation", "at": 1_795_000_002, "command": ["gigarank"], "result": {"results": [MEASURED]}}


@pytest.mark.parametrize(
    ("row", "running", "states"),
    [
        (None, False, "waiting waiting waiting"),
        ({"figures": [], "reason": None}, True, "running waiting waiting"),
        ({"figures": [], "reason": "doctor: no space"}, False, "failed waiting waiting"),
        ({"figures": [], "reason": "doctor: no space"}, True, "running waiting waiting"),
        ({"figures": [FIGURE], "reason": "bench: exit code 3"}, False, "done failed waiting"),
        ({"figures": [FIGURE, BENCH], "reason": None}, True, "done done running"),
        ({"figures": [FIGURE, BENCH, EVALUATED], "reason": None}, False, "done done done"),
    ],
)
def test_a_step_stands_where_the_database_says(row: Any, running: bool, states: str) -> None:
    assert " ".join(one.state for one in standing(row, running)) == states


def test_a_step_that_is_done_tells_what_it_found_in_a_word() -> None:
    row: Any = {"figures": [FIGURE, BENCH, EVALUATED], "reason": None}
    assert [one.found for one in standing(row, False)] == [
        "1 of 1 checks passed",
        "4.5 pairs a second",
        "fish: ndcg_cut_10 0.443",
    ]
    odd: Any = {
        "figures": [{**FIGURE, "result": {}}, {**BENCH, "result": {}}, {**EVALUATED, "result": {"results": [{}]}}],
        "reason": None,
    }
    assert [one.found for one in standing(odd, False)] == ["", "", ""]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite. An operator."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    made = Town(database, url, tmp_path)
    made.operator()
    yield made
    database.close()


def signed_in(town: Town, work: Any) -> None:
    async def begun(browser: Browser) -> None:
        await browser.sign_in()
        await work(browser)

    town.do(begun)


def test_what_is_wrong_with_a_plan_is_said_beside_its_field(town: Town, tmp_path: Path) -> None:
    async def work(browser: Browser) -> None:
        path, good = "/operator/onboard?model=nano", {"data": str(tmp_path)}
        for fields, said in (
            ({"data": "/nowhere"}, "data: no folder '/nowhere' on the machine of this server"),
            ({"data": ""}, "data: folders to evaluate it on are expected, or a suite"),
            ({**good, "suite": "MTEB-R"}, "and not both"),
            ({**good, "limit": "0"}, "limit: a number from 1 to 100000 is expected; received '0'"),
            ({**good, "docs": "many"}, "docs: a number from 1"),
            ({**good, "load": "/nowhere"}, "load: no folder"),
            ({**good, "model": "no model"}, "model: OWNER/NAME"),
        ):
            reply = await fill(browser, path, fields, "/operator/onboard")
            assert reply.status == 400 and said in Page(reply).text, Page(reply).text
            again = Page(reply).forms["/operator/onboard"]
            assert {name: again[name] for name in fields} == fields
        assert Onboarding.of(town.settings).running() is None
        for state in ("benchmarking", "onboarding", "live"):
            await move(browser, state)
        reply = await refused(browser, {"model": "nano", **good})
        assert reply.status == 400 and "model: nano is live; what is proposed" in Page(reply).text
        assert "/operator/onboard" not in (await look(browser, path)).forms

    async def move(browser: Browser, state: str) -> None:
        assert (await refused(browser, {"model": "nano", "state": state}, "/operator/models/state")).status == 303

    async def refused(browser: Browser, fields: dict[str, str], path: str = "/operator/onboard") -> Reply:
        return await send(browser, path, {**fields, "csrf_token": csrf_token(browser.cookie.partition("=")[2])})

    signed_in(town, work)


def test_the_page_shows_what_runs_and_stops_it(town: Town, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigarank.service.catalogue.onboarding.PROGRAM", (sys.executable, "-c", WAITS))

    async def work(browser: Browser) -> None:
        path, mine = "/operator/onboard?model=nano", "/operator/onboard/stop"
        page = await follow(browser, await fill(browser, path, {"data": str(tmp_path)}, "/operator/onboard"))
        assert "It runs. What each step finds" in page.text and mine in page.forms and "/operator/onboard" not in page.forms
        assert [row[2] for row in page.tables["Steps"][1:]] == ["running", "waiting", "waiting"]
        assert "live.js" in page.reply.body.decode()
        town.database.transaction(lambda one: catalogue.note(one, "nano", None, FIGURE))
        assert [row[2] for row in (await look(browser, path)).tables["Steps"][1:]] == ["done", "running", "waiting"]
        assert "nano is being onboarded since" in (await look(browser, "/operator/onboard?model=qwen3-reranker-4b")).text
        assert "/operator/onboard?model=nano" in (await look(browser, "/operator/models")).links
        stopped = await follow(browser, await send(browser, mine, page.forms[mine]))
        assert "It is stopped. What was found is kept" in stopped.text
        until_ended()
        after = await look(browser, path)
        assert "stopped by an operator" in after.text and "It does not run." in after.text
        assert [row[2] for row in after.tables["Steps"][1:]] == ["done", "waiting", "waiting"]
        assert (await send(browser, mine, page.forms[mine])).status == 400

    signed_in(town, work)
    until_ended()
