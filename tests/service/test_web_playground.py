"""The playground: what is read of a form, what is shown of an answer, what it costs nobody, and what is refused."""

import asyncio
import html
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from asgi import Reply, Visit, ask, ask_in_turn, getting, posting
from gigarank.engine.work import Failure, Outcome, Result, Unscored, Work
from gigarank.errors import DatabaseUnavailable, InvalidInput, RateLimited, RequestTooLarge
from gigarank.service.allowance import Allowance
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.metering.limits import RateLimiter
from gigarank.service.rerank.presets import PRESETS
from gigarank.service.settings import Settings
from gigarank.service.tables import ledger
from gigarank.service.web.pasted import read_pasted
from gigarank.service.web.plays import MOST_CHARACTERS, Asked, read_play
from gigarank.service.web.sentences import MOST_SENTENCES, carried, split, variants
from gigarank.service.web.snippets import CLIENTS, snippet
from gigarank.types import Score
from people import Browser, Town
from redis_server import redis_server

BROWSER = "text/html"
FORM = "application/x-www-form-urlencoded"
TEXTS = "Bread rises.\nPlants turn sunlight into sugar. It is green.\nplants"
FIELDS = {"query": "plants turn sunlight", "documents": TEXTS, "model": "fake", "form": "auto"}


class Recorder(FakeBackend):
    """Remembers what it was asked. `others`: what becomes of the last documents."""

    def __init__(self, *others: Outcome) -> None:
        super().__init__()
        self.asked: list[Work] = []
        self.others = others

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        self.asked.append(work)
        result = await super().score(model, work, wait_s)
        kept = len(result.outcomes[0]) - len(self.others)
        return Result(((*result.outcomes[0][:kept], *self.others),), result.usage)


def form(path: str = "/playground", **fields: str) -> Visit:
    return posting(urlencode({**FIELDS, **fields}).encode(), path, content_type=FORM, accept=BROWSER)


def play(backend: FakeBackend | None = None, settings: dict[str, Any] | None = None, **fields: str) -> Reply:
    return ask(create_app(Settings(models=("fake",), **(settings or {})), backend or FakeBackend()), form(**fields))


def text_of(reply: Reply, status: int = 200) -> str:
    assert reply.status == status, reply.body
    return html.unescape(reply.body.decode())


def order(text: str) -> list[str]:
    return re.findall(r'<div class="hit">\s*<p>([^<]*)</p>', text)


def test_the_page_begins_with_something_to_try() -> None:
    app = create_app(Settings(models=("fake",)), FakeBackend())
    text = text_of(ask(app, getting("/playground", accept=BROWSER)))
    assert "How do plants turn sunlight into energy?" in text and "photosynthesis" in text
    assert "requests a minute" not in text
    assert re.findall(r'<option value="([^"]+)">fake', text) == ["fake", "fake"]
    assert all(f'value="{name}"' in text for name in PRESETS)


def test_documents_stand_best_first_with_all_that_is_known_of_them() -> None:
    text = text_of(play())
    assert order(text) == ["Plants turn sunlight into sugar. It is green.", "plants", "Bread rises."]
    assert "<strong>0.9933</strong> probability · logit 5.000 · 8 tokens" in text
    assert "3 documents" in text
    assert [re.sub(r"<[^>]+>", "", one) for one in re.findall(r'class="(?:up|down)"[^>]*>(.*?)</span></div>', text)] == [
        "▲ 1 up", "▲ 1 up", "▼ 2 down",
    ]  # fmt: skip
    widths = [float(width) for width in re.findall(r'<rect class="main" width="([\d.]+)"', text)]
    assert widths == sorted(widths, reverse=True) and widths[0] == 99.33


def test_what_was_typed_stays_in_the_form_and_is_escaped() -> None:
    reply = play(query="<b>x</b>", documents="<i>y</i>")
    assert b"<b>x" not in reply.body and b"<i>y" not in reply.body
    assert "<b>x</b>" in text_of(reply)


@pytest.mark.parametrize(("fields", "instruction"), [
    ({}, None), ({"preset": "code"}, PRESETS["code"].instruction), ({"preset": "code", "instruction": " mine "}, "mine"),
    ({"preset": "nobody's"}, None),
])  # fmt: skip
def test_the_instruction_is_the_typed_one_or_the_preset(fields: Any, instruction: str | None) -> None:
    backend = Recorder()
    text_of(play(backend, **fields))
    assert [work.searches[0].instruction for work in backend.asked] == [instruction]


def test_two_runs_stand_side_by_side() -> None:
    backend = Recorder()
    text = text_of(play(backend, compare="on", second_preset="code", second_instruction="another"))
    assert [work.searches[0].instruction for work in backend.asked] == [None, "another"]
    assert len(order(text)) == 6 and 'class="halves"' in text.partition('id="results"')[2]
    assert text.count('name="explain"') == 3


def test_visitors_wait_behind_whoever_has_a_key() -> None:
    backend = Recorder()
    play(backend)
    assert backend.asked[0].priority > 0


def test_a_document_that_was_cut_or_not_scored_says_so() -> None:
    text = text_of(play(Recorder(Unscored(1), Unscored(2))))
    assert text.count("no score") == 2 and "not in time" in text
    assert "were not scored before the deadline" in text
    broken = text_of(play(Recorder(Failure(2, InvalidInput("too long")))))
    assert broken.count("no score") == 1 and "too long" in broken
    with_cut = Score(2, 0.5, 0.0, 9, True)
    assert ">cut</span>" in text_of(play(Recorder(with_cut))) and ">cut</span>" not in text


def test_a_document_s_sentences_are_weighed_by_leaving_each_out() -> None:
    backend = Recorder()
    text = text_of(play(backend, explain="1"))
    (work,) = backend.asked
    assert work.searches[0].documents == (
        "Plants turn sunlight into sugar. It is green.",
        "It is green.",
        "Plants turn sunlight into sugar. ",
    )
    assert '<span class="number">+6.000</span> <span>Plants turn sunlight into sugar. </span>' in text
    assert '<span class="number">+0.000</span> <span>It is green.</span>' in text
    assert "3 texts" in text and "tokens" in text and "logit of 5.000" in text
    assert order(text) == []


@pytest.mark.parametrize("given", ["3", "-1", "x", "99999999"])
def test_only_documents_that_are_there_are_explained(given: str) -> None:
    assert "explain: " in text_of(play(explain=given), 400)


def test_code_holds_what_was_typed() -> None:
    text = text_of(play(show="code", client="javascript", documents='it\'s "so"\nb'))
    assert 'const documents = [\n    "it\'s \\"so\\"",\n    "b",\n];' in text
    assert 'const query = "plants turn sunlight";' in text
    assert "client: one of curl, " in text_of(play(show="code", client="cobol"), 400)


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in ("curl", "javascript")])
def test_code_with_any_text_is_a_program(client: str) -> None:
    typed = SimpleNamespace(query="a \"b\" \\ 'c'\n{x} \\1", documents=["\U0001f600 é", {"text": "x", "n": 1}])
    code = snippet(client, "fake", "http://127.0.0.1:1", typed).code
    names: dict[str, Any] = {}
    for line in re.findall(r"^(?:QUERY|TEXTS) = (?:\[\n(?:    .*\n)*\]|.*)", code, re.M):
        exec(line, names)
    compile(code, client, "exec")
    assert names["QUERY"] == typed.query
    assert names["TEXTS"] == ["\U0001f600 é", '{"text": "x", "n": 1}']


def test_the_shell_s_quotes_hold() -> None:
    typed = SimpleNamespace(query="it's $HOME `x`", documents=["don't"])
    code = snippet("curl", "fake", "http://127.0.0.1:1", typed).code
    shown = code.replace("curl --silent --show-error --fail-with-body", 'printf "%s\\n"')
    done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.partition("--data\n")[2]) == {
        "model": "fake",
        "query": "it's $HOME `x`",
        "documents": ["don't"],
    }


def test_the_link_holds_the_settings_and_no_text() -> None:
    text = text_of(play(preset="code", compare="on", second_preset="legal"))
    (link,) = re.findall(r'<a href="(/playground\?[^"]+)">Link', text)
    assert link == "/playground?model=fake&preset=code&compare=on&second_preset=legal"
    app = create_app(Settings(models=("fake",)), FakeBackend())
    request = getting("/playground", accept=BROWSER)
    request.query = link.partition("?")[2]
    again = text_of(ask(app, request))
    assert 'value="code" selected' in again and 'value="legal" selected' in again and "checked" in again


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"query": " "}, 400, "query: empty; say what you look for"),
        ({"documents": " \n "}, 400, "documents: none; paste at least one"),
        ({"documents": "a\n" * 101}, 413, "documents: 101; the playground takes 100 (demo_documents)"),
        ({"documents": "a" * MOST_CHARACTERS}, 413, f"the playground takes {MOST_CHARACTERS}"),
        ({"model": "nobody"}, 404, "model 'nobody' not found"),
        ({"model": "fake-embedder"}, 400, "is an embedder, not a reranker"),
        ({"form": "xml"}, 400, "form: one of auto, lines, paragraphs, jsonl, csv; received 'xml'"),
        ({"form": "jsonl", "documents": "{"}, 400, "documents: line 1 is no JSON"),
    ],
)
def test_what_cannot_be_ranked_is_said_above_the_form(fields: Any, status: int, said: str) -> None:
    reply = play(**fields)
    assert said in text_of(reply, status)
    assert b'id="play"' in reply.body and b'role="alert"' in reply.body
    assert reply.headers["content-type"] == "text/html; charset=utf-8"


def test_a_hundred_documents_are_a_page_of_moderate_size() -> None:
    texts = [f"plants number {number} " + "turn sunlight into sugar and oxygen " * 30 for number in range(100)]
    reply = play(documents="\n".join(texts))
    assert len(order(text_of(reply))) == 100
    assert len(reply.body) < 350_000


def take(allowance: Allowance, count: int = 1) -> None:
    asyncio.run(allowance.take(count))


def test_the_allowance_is_shared_and_comes_back() -> None:
    now = [0.0]
    allowance = Allowance(3, lambda: now[0])
    take(allowance)
    now[0] = 20.0
    take(allowance, 2)
    with pytest.raises(RateLimited, match="demo_requests_per_minute: the 3 of all visitors together are taken") as raised:
        take(allowance)
    assert (raised.value.retry_after, raised.value.limit, raised.value.received) == (40.0, 3, 1)
    with pytest.raises(RateLimited) as raised:
        take(allowance, 2)
    assert raised.value.retry_after == 60.0
    now[0] = 60.0
    take(allowance)
    with pytest.raises(RateLimited):
        take(allowance)
    take(Allowance(None), 10_000)
    with pytest.raises(RateLimited):
        take(Allowance(0))


def test_servers_that_count_in_one_redis_share_the_allowance(tmp_path: Path) -> None:
    def app(number: int, **more: Any) -> Any:
        own = {"models": ("fake",), "state_dir": str(tmp_path / str(number)), "accounts": True, "demo_requests_per_minute": 3}
        return create_app(Settings(**{**own, **more}), FakeBackend())

    with redis_server(tmp_path) as url:
        first, second = app(1, rate_limit_url=url), app(2, rate_limit_url=url)
        assert [reply.status for reply in ask_in_turn(first, form(), form())] == [200, 200]
        taken = ask_in_turn(second, form(compare="on"), form(), form())
        assert [reply.status for reply in taken] == [429, 200, 429]  # of two runs at once none, of one the last
        assert 1 <= int(taken[2].headers["retry-after"]) <= 60
        assert ask_in_turn(first, form())[0].status == 429
        assert [reply.status for reply in ask_in_turn(app(3), form(), form(), form(), form())] == [200, 200, 200, 429]
    with pytest.raises(DatabaseUnavailable, match="requests cannot be counted"):
        take(Allowance(3, shared=RateLimiter(url)))


def test_a_server_without_keys_bounds_nobody_and_one_with_keys_opens_nothing() -> None:
    app = create_app(Settings(models=("fake",), demo_requests_per_minute=1), FakeBackend())
    assert {reply.status for reply in ask_in_turn(app, form(), form(), form())} == {200}
    backend = Recorder()
    refused = text_of(play(backend, {"api_keys": ("k",)}), 403)
    assert "the playground answers on servers with accounts or without keys" in refused
    assert backend.asked == []


@pytest.mark.parametrize(
    ("text", "form_name", "read"),
    [
        ("a\n\n b \r\nc", "lines", ["a", "b", "c"]),
        ("a\nb", "auto", ["a", "b"]),
        ("a\nb\n\nc\n", "auto", ["a\nb", "c"]),
        ("\ufeff\"a\"\n{\"title\": \"t\"}\n", "auto", ["a", {"title": "t"}]),
        ("\"quoted speech\" begins\nb", "auto", ["\"quoted speech\" begins", "b"]),
        ("id,Text\n1,\"a, b\"\n2,c\n3\n", "csv", ["a, b", "c"]),
        ("name\nx\n", "csv", ["x"]),
        ("", "csv", []),
        ("", "jsonl", []),
    ],
)  # fmt: skip
def test_documents_are_read_as_they_were_pasted(text: str, form_name: str, read: list[Any]) -> None:
    assert read_pasted(text, form_name) == read


@pytest.mark.parametrize(("text", "form_name", "said"), [
    ('"a"\nb', "jsonl", "line 2 is no JSON"), ("[1]", "jsonl", "line 1: a text or an object is expected"),
    ('a\n"b', "csv", "documents: no CSV: "),
])  # fmt: skip
def test_what_cannot_be_read_says_where(text: str, form_name: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_pasted(text, form_name)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two? Three!", ["One. ", "Two? ", "Three!"]),
        ("Version 3.5 is out.\nNext line", ["Version 3.5 is out.\n", "Next line"]),
        ("一。二。", ["一。", "二。"]),
        ("no end", ["no end"]),
        ("  ", ["  "]),
    ],
)
def test_sentences_put_together_are_the_text(text: str, parts: list[str]) -> None:
    assert split(text) == parts
    assert "".join(split(text)) == text


def test_a_long_text_has_its_end_in_one_part() -> None:
    text = "A b. " * 200
    parts = split(text)
    assert len(parts) == MOST_SENTENCES and "".join(parts) == text


def test_each_variant_lacks_one_part() -> None:
    assert variants(["a. ", "b. ", "c"]) == ["a. b. c", "b. c", "a. c", "a. b. "]
    assert variants(["alone"]) == ["alone", "."]


def test_what_a_part_carries_is_what_is_lost_without_it() -> None:
    found = carried(["a", "b", "c"], [2.0, -2.0, 3.0, 2.0])
    assert [(part.text, part.carried, part.share) for part in found] == [("a", 4.0, 1.0), ("b", -1.0, -0.25), ("c", 0.0, 0.0)]
    assert [part.share for part in carried(["a"], [1.0, 1.0])] == [0.0]


def test_a_play_is_bounded_before_anything_is_read() -> None:
    settings = Settings(demo_documents=2)
    assert read_play({**FIELDS, "documents": "a\nb"}, settings).runs == (Asked("fake", ""),)
    with pytest.raises(RequestTooLarge) as raised:
        read_play({**FIELDS, "documents": "a\nb\nc"}, settings)
    assert (raised.value.limit, raised.value.received) == (2, 3)
    both = read_play({**FIELDS, "compare": "on", "second_model": ""}, settings_of(9)).runs
    assert both == (Asked("fake", ""), Asked("fake", ""))


def settings_of(most: int) -> Settings:
    return Settings(demo_documents=most)


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Town:
    return Town(database, database_url, tmp_path, demo_requests_per_minute=3)


def test_visitors_of_a_hosted_server_share_an_allowance_and_touch_no_credit(town: Town) -> None:
    town.person()
    before = town.rows(ledger)

    async def work(browser: Browser) -> None:
        first = text_of(await browser.send(form(compare="on"), accept=BROWSER))
        assert "All visitors share 3 requests a minute" in first
        assert re.findall(r"\$(0\.\d+) with an account", first) == ["0.000003"] * 2  # 41 tokens at $0.05 a million
        other = town.browser(browser.app)
        explained = text_of(await other.send(form(explain="1"), accept=BROWSER))
        assert re.findall(r"\$(0\.\d+) with an account", explained) == ["0.000003"]
        reply = await other.send(form(), accept=BROWSER)
        assert "of all visitors together are taken" in text_of(reply, 429)
        assert int(reply.headers["retry-after"]) > 30
        assert "Show the code" not in text_of(await other.send(form(show="code", client="curl"), accept=BROWSER))

    town.do(work)
    assert town.rows(ledger) == before


def test_an_allowance_of_none_closes_the_playground(database: Database, database_url: str, tmp_path: Path) -> None:
    closed = Town(database, database_url, tmp_path, demo_requests_per_minute=0)

    async def work(browser: Browser) -> None:
        assert "where demo_requests_per_minute is not 0" in text_of(await browser.send(form(), accept=BROWSER), 403)

    closed.do(work)


def test_the_playground_loads_no_database() -> None:
    code = "import sys, gigarank.service.web.routes\nprint(*[n for n in ('sqlalchemy', 'limits', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
