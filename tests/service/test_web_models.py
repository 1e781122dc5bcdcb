"""The catalogue and the models' pages: what is shown of which model, from where its figures are, and who asks for it."""

import dataclasses
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from accounts import NOW
from asgi import Reply, ask, getting, posting
from gigarank import catalogue
from gigarank.catalogue import MODELS, SUITES
from gigarank.errors import ObjectNotFound
from gigarank.service.app import create_app
from gigarank.service.backend import ModelState
from gigarank.service.catalogue import service
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.mail.service import Post
from gigarank.service.offer_tables import model_votes
from gigarank.service.settings import Settings
from gigarank.service.web import hosted_pages, measured, plots, published
from gigarank.service.web.listing import chosen, entries, entry_of, mean_published
from gigarank.service.web.model_view import view, words_of
from gigarank.service.web.shipped import folder
from gigarank.service.web.snippets import snippets
from people import Browser, Town

BROWSER = "text/html"
ROOT = Path(__file__).parents[2]
FORM = "application/x-www-form-urlencoded"
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def state(name: str, *aliases: str, repository: str = "", now: Any = "ready") -> ModelState:
    return ModelState(name, aliases, "reranker", now, 4_096, 0, "their own", repository=repository)


class Backend(FakeBackend):
    def __init__(self, *states: ModelState) -> None:
        super().__init__()
        self.states = states

    def models(self) -> tuple[ModelState, ...]:
        return self.states


SERVED = (
    state("mine", repository="Qwen/Qwen3-Reranker-4B"),
    state("own/model", now="failed"),
    state("x", "nano", now="loading"),
)


def browse(path: str, *, accept: str = BROWSER, **settings: Any) -> Reply:
    path, _, query = path.partition("?")
    app = create_app(Settings(**{"models": ("x",), **settings}), Backend(*SERVED))
    request = getting(path, accept=accept)
    request.query = query
    return ask(app, request)


def text_of(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    return reply.body.decode()


def rows(text: str) -> list[str]:
    """The models of the last table."""
    return re.findall(r'<th scope="row"><a href="/models/([^"]+)">', text)


def test_every_known_and_every_served_model_is_listed_once() -> None:
    found = {entry.name: entry for entry in entries(SERVED)}
    assert list(found) == [
        "qwen3-reranker-8b", "qwen3-reranker-4b", "qwen3-reranker-0.6b", "nano", "qwen3-embedding-0.6b", "own/model",
    ]  # fmt: skip
    assert (found["qwen3-reranker-4b"].label, found["qwen3-reranker-4b"].live) == ("live", True)
    assert (found["nano"].label, found["nano"].tone) == ("loading", "warn")
    own = found["own/model"]
    assert (own.label, own.context_tokens, own.parameters, own.gflop, own.summary) == (
        "failing",
        4_096,
        None,
        None,
        "their own",
    )
    assert (found["qwen3-reranker-8b"].label, found["qwen3-reranker-8b"].context_tokens) == ("coming soon", 32_768)


@pytest.mark.parametrize(("name", "found"), [("8b", "qwen3-reranker-8b"), ("Qwen/Qwen3-Reranker-4B", "qwen3-reranker-4b"),
                                             ("mine", "qwen3-reranker-4b"), ("own/model", "own/model")])  # fmt: skip
def test_a_model_is_found_by_any_of_its_names(name: str, found: str) -> None:
    assert entry_of(name, SERVED).name == found


def test_a_known_model_is_found_before_one_that_another_serves() -> None:
    both = (state("one", "nano", "qwen3-reranker-0.6b"),)
    assert [entry_of(name, both).name for name in ("nano", "0.6b", "qwen3-reranker-0.6b")] == [
        "nano",
        "qwen3-reranker-0.6b",
        "qwen3-reranker-0.6b",
    ]


def test_a_model_that_nobody_knows_is_an_error_that_names_it() -> None:
    with pytest.raises(ObjectNotFound, match="model: no 'nobody' in the catalogue"):
        entry_of("nobody", SERVED)
    assert browse("/models/nobody").status == 404


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", 6),
        ("words=SMALL+offline", 1),
        ("kind=embedder", 1),
        ("state=live", 3),
        ("state=coming&kind=reranker", 2),
        ("words=nothing+fits", 0),
    ],
)
def test_the_catalogue_is_filtered_by_a_form(query: str, left: int) -> None:
    text = text_of(browse(f"/models?{query}"))
    assert len(rows(text)) == left
    assert f"{left} of 6 models" in text


def test_all_words_have_to_be_there() -> None:
    assert [one.name for one in chosen(entries(SERVED), "qwen3 largest", "", "")] == ["qwen3-reranker-8b"]


def test_models_stand_side_by_side() -> None:
    text = text_of(browse("/models?first=nano&second=qwen3-reranker-8b&third=nobody"))
    table = text[text.index("Side by side") :].partition("</table>")[0]
    assert re.findall(r'<th scope="col">([^<]+)</th>', table)[1:] == ["nano", "qwen3-reranker-8b"]
    assert "81.22" in table and "not published" in table and "13.9 GFLOP" in table
    assert "Side by side" not in text_of(browse("/models")).replace("side by side", "")


def test_what_was_searched_for_is_escaped_and_stays_in_the_form() -> None:
    text = text_of(browse("/models?words=%3Cscript%3E%22"))
    assert 'value="&lt;script&gt;&#34;"' in text


def test_the_quality_of_the_catalogue_is_the_mean_of_five_published_figures() -> None:
    entry = entry_of("8b", ())
    values = [entry.published[suite] for suite in SUITES[:5]]
    assert mean_published(entry) == pytest.approx(sum(values) / 5)
    assert mean_published(entry_of("nano", ())) is None


@each_model
def test_the_work_of_a_token_is_two_for_each_weight_of_the_layers(model: catalogue.Model) -> None:
    told = {"qwen3-reranker-0.6b": 0.881, "qwen3-reranker-4b": 7.27, "qwen3-reranker-8b": 13.9, "qwen3-embedding-0.6b": 0.881}
    gflop = entry_of(model.name, ()).gflop
    assert gflop is not None
    assert gflop == pytest.approx(told.get(model.name, 0.2123), rel=5e-3)
    assert gflop < 2e-9 * model.parameters


@each_model
def test_a_model_s_page_tells_all_of_it(model: catalogue.Model) -> None:
    text = text_of(browse(f"/models/{model.name}"))
    headings = {"About", "What it can do", "Best for", "Published figures", "Measured here", "Speed", "Call it", "Limits"}
    assert headings | {"Questions", "Specs", "Price", "Licence"} <= set(re.findall(r"<h2[^>]*>([^<]+)</h2>", text))
    assert f"{model.parameters:,}" in text and f"{model.context_tokens:,} tokens" in text and "Apache 2.0" in text
    for value in model.published.values():
        assert f"{value:.2f}" in text
    assert len(re.findall(r"<h1", text)) == 1
    assert len(text) < 100_000


@each_model
def test_published_figures_have_a_source_and_are_not_shown_as_measured(model: catalogue.Model) -> None:
    text = text_of(browse(f"/models/{model.name}"))
    told = text.partition('id="published"')[2].partition('id="measured"')[0]
    assert ("arxiv.org/abs/2506.05176" in told) == bool(model.published)
    assert ("They were not measured here" in told) == bool(model.published)
    below = text.partition('id="measured"')[2].partition('id="speed"')[0]
    assert ("has not been measured here yet" in below) == (model.name != "nano")


def test_the_figures_of_others_stand_beside_the_models() -> None:
    shown = view(entry_of("8b", ()), "")["figures"]
    names = {name for name, _, _ in shown}
    assert names == {
        *published.RIVALS,
        *(f"Qwen3-{one}" for one in ("Reranker-8B", "Reranker-4B", "Reranker-0.6B", "Embedding-0.6B")),
    }
    assert [name for name, _, mine in shown if mine] == ["Qwen3-Reranker-8B"]
    assert {name: figures["MTEB-Code"] for name, figures, _ in shown}["BGE-reranker-v2-m3"] == 41.38


def test_measured_quality_is_what_the_documentation_says() -> None:
    found = measured.quality_of("nano")
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    assert found[-1].name == "mean over sets" and len(found) > 5
    for row in found:
        assert f"| {row.name} | ndcg_cut_10 | {row.queries:,} | {row.first:.4f} | {row.reranked:.4f} |" in page
    assert measured.quality_of("qwen3-reranker-8b") == ()


def test_measured_speed_is_what_the_documentation_says() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    shapes = {"nano": "nano", "qwen3-reranker-0.6b": "0.6b"}
    for model, shape in shapes.items():
        grid = measured.grid_of(model)
        assert grid is not None
        assert f"| model | documents | {' | '.join(grid.lengths)} |" in page
        assert len(grid.rows) >= 3
        for precision, documents, figures in grid.rows:
            assert f"| {shape}, {precision} | {documents} | {' | '.join(figures)} |" in page
    assert measured.grid_of("qwen3-embedding-0.6b") is None
    assert [row.load.rpartition(", ")[2] for row in measured.speed_of("nano")] == ["1 client", "16 clients"]
    assert measured.speed_of("qwen3-reranker-8b") == ()


def test_bars_are_as_long_as_their_values() -> None:
    groups = [("a", [plots.Bar("x", 50.0, "main"), plots.Bar("y", 25.0, "other")]), ("b", [plots.Bar("x", -3.0, "main")])]
    plot = plots.bars("t", "d", groups, 100.0)
    first, second = plot.groups[0].bars
    assert first.width == 2 * second.width == (plots.WIDTH - plots.LABEL - plots.VALUE) / 2
    assert plot.groups[1].bars[0].width == 0.0
    assert first.y < second.y < plot.groups[1].bars[0].y < plot.height


def test_plots_say_in_words_what_they_show() -> None:
    text = text_of(browse("/models/qwen3-reranker-8b"))
    (label,) = re.findall(r'<svg [^>]*role="img" aria-label="([^"]+)"', text)
    assert label.startswith("Published figures by suite: MTEB-R 69.02 (Qwen3-Reranker-8B), 61.82 (first stage alone);")


def test_markdown_says_what_the_page_says() -> None:
    for accept in (BROWSER, "*/*"):
        reply = browse("/models/qwen3-reranker-8b.md", accept=accept)
        assert reply.headers["content-type"] == "text/markdown; charset=utf-8"
    text = text_of(reply)
    assert text.startswith("# qwen3-reranker-8b\n")
    assert "| Qwen3-Reranker-8B | 69.02 | 77.45 | 72.94 | 70.19 | 81.22 | 8.05 |\n" in text
    assert "&#" not in text and "&lt;" not in text
    words = words_of(entry_of("8b", ()))
    for said in (words["about"], *words["best_for"], *(each["a"] for each in words["faq"])):
        assert said in text
    nano = text_of(browse("/models/nano.md"))
    assert "| mean over sets |" in nano and "pairs/s" in nano
    grid = measured.grid_of("nano")
    assert grid is not None and f"| precision | documents | {' | '.join(grid.lengths)} |\n" in nano
    page = text_of(browse("/models/nano"))
    for precision, documents, figures in grid.rows:
        assert f"| {precision} | {documents} | {' | '.join(figures)} |\n" in nano
        assert f'<th scope="row">{precision}</th><td>{documents}</td><td class="number">{figures[0]}</td>' in page
    assert "Not measured here yet." in text_of(browse("/models/qwen3-embedding-0.6b.md"))


def test_all_models_as_markdown_are_those_of_the_page() -> None:
    for accept in (BROWSER, "*/*"):
        reply = browse("/models.md", accept=accept, public_url="https://rank.example.org")
        assert reply.headers["content-type"] == "text/markdown; charset=utf-8"
    listed = re.findall(r"^\| \[([^]]+)\]\(https://rank\.example\.org/models/([^)]+)\.md\) \|", text_of(reply), re.MULTILINE)
    assert [name for name, _ in listed] == [path for _, path in listed] == rows(text_of(browse("/models")))


def test_a_checkpoint_of_one_s_own_has_a_page_too() -> None:
    text = text_of(browse("/models/own/model"))
    assert "their own" in text and "4,096 tokens" in text and "owner" in text


def test_code_is_the_clients_programs_with_this_server_s_address_and_model() -> None:
    found = {snippet.id: snippet.code for snippet in snippets("reranker", "my-model", "https://rank.example.org")}
    assert list(found) == ["curl", "python", "openai", "cohere", "langchain", "llamaindex", "haystack", "javascript"]
    for code in found.values():
        assert "my-model" in code and "https://rank.example.org" in code
        assert "127.0.0.1" not in code and '"nano"' not in code
    plain = (ROOT / "examples" / "clients" / "cohere_v2_rerank.py").read_text(encoding="utf-8")
    assert found["cohere"].replace("my-model", "nano").replace("https://rank.example.org", "http://127.0.0.1:8000") == plain
    assert {one.id for one in snippets("embedder", "e", "")} == {"curl", "openai"}


def test_what_a_source_tree_and_a_wheel_ship_is_the_same_folder() -> None:
    assert folder("docs") == ROOT / "docs"
    assert folder("clients") == ROOT / "examples" / "clients"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server that answers with what the application says."""
    app = create_app(Settings(models=("fake",)), FakeBackend())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            reply = ask(app, posting(body, self.path))
            self.send_response(reply.status)
            self.send_header("content-type", reply.headers["content-type"])
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("kind", "id", "command", "model"),
    [
        ("reranker", "python", [sys.executable], "fake"),
        ("reranker", "javascript", ["node", "--input-type=module"], "fake"),
        ("reranker", "curl", ["bash"], "fake"),
        ("embedder", "curl", ["bash"], "fake-embedder"),
    ],
)
def test_code_that_needs_no_package_runs_as_it_is_shown(
    address: str, kind: Any, id: str, command: list[str], model: str
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    (code,) = [one.code for one in snippets(kind, model, address) if one.id == id]
    done = subprocess.run([*command, "-"], input=code, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    wanted = {"python": "0.881  Plants turn sunlight into sugar.", "javascript": "0.881  Plants", "curl": f'"model":"{model}"'}
    assert wanted[id].replace("0.881", "") in done.stdout.replace('": "', '":"')


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Town:
    return Town(database, database_url, tmp_path)


def test_a_hosted_catalogue_has_prices_votes_and_states(town: Town) -> None:
    account = town.person()
    town.database.transaction(lambda one: service.ask(one, "qwen3-reranker-8b", account, NOW))

    async def work(browser: Browser) -> None:
        listed = text_of(await browser.get("/models", accept=BROWSER))
        assert len(re.findall(r"\$0\.05 per million tokens", listed)) == 5
        model = text_of(await browser.get("/models/qwen3-reranker-8b", accept=BROWSER))
        assert "1 account asks" in model and "Estimated; set when the model is live" in model
        assert "Estimated" not in text_of(await browser.get("/models/fake", accept=BROWSER))
        assert "$0.05" in text_of(await browser.get("/", accept=BROWSER))
        assert "estimated; set when" in text_of(await browser.get("/models/qwen3-reranker-8b.md"))
        assert text_of(await browser.get("/models.md")).count("$0.05 per million tokens |") == 5

    town.do(work)


def test_what_onboarding_found_is_shown(town: Town) -> None:
    def work(one: Any) -> None:
        service.propose(one, "qwen3-reranker-4b", NOW)
        service.move(one, "qwen3-reranker-4b", "benchmarking", town_post, NOW)
        service.note(one, "qwen3-reranker-4b", None, {"step": "speed", "at": NOW, "result": {"pairs_per_s": 12.5, "runs": [1]}})

    town_post = Post("https://x", sends=False)
    town.database.transaction(work)
    found = town.database.transaction(lambda one: hosted_pages.offers(one, [], NOW))["qwen3-reranker-4b"]
    assert (found.state, found.votes) == ("benchmarking", 0)

    async def shown(browser: Browser) -> None:
        text = text_of(await browser.get("/models/qwen3-reranker-4b", accept=BROWSER))
        assert "coming soon: being measured" in text
        assert "<dt>pairs_per_s</dt><dd>12.5</dd>" in text and "<dt>runs</dt>" not in text

    town.do(shown)


async def votes(browser: Browser, path: str, **headers: str) -> Reply:
    content = f"csrf_token={browser.csrf}".encode()
    visit = dataclasses.replace(posting(content, path), headers={"content-type": FORM, "content-length": str(len(content))})
    return await browser.send(visit, **{"accept": BROWSER, "x_csrf_token": "", **headers})


def test_a_vote_is_a_form_and_is_taken_back_by_another(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        page = text_of(await browser.get("/models/8b", accept=BROWSER))
        assert f'name="csrf_token" value="{browser.csrf}"' in page
        reply = await votes(browser, "/models/qwen3-reranker-8b/vote")
        assert (reply.status, reply.headers["location"]) == (303, "/models/qwen3-reranker-8b?voted=yes")
        assert reply.headers["cache-control"] == "no-store"
        assert town.count(model_votes) == 1
        page = text_of(await browser.get(reply.headers["location"], accept=BROWSER))
        assert "Your vote counts" in page and "/models/qwen3-reranker-8b/unvote" in page
        reply = await votes(browser, "/models/qwen3-reranker-8b/unvote")
        assert reply.headers["location"] == "/models/qwen3-reranker-8b?voted=no"
        assert town.count(model_votes) == 0

    town.do(work)


def test_a_vote_needs_a_session_its_token_and_a_model_that_is_not_served(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        reply = await votes(browser, "/models/qwen3-reranker-8b/vote")
        assert (reply.status, reply.headers["location"]) == (303, "/sign-in")
        await browser.sign_in()
        browser.csrf, csrf = "wrong", browser.csrf
        reply = await votes(browser, "/models/qwen3-reranker-8b/vote")
        assert (reply.status, reply.headers["content-type"]) == (403, "text/html; charset=utf-8")
        browser.csrf = csrf
        elsewhere = await votes(browser, "/models/qwen3-reranker-8b/vote", origin="https://evil.example")
        assert elsewhere.status == 403
        assert (await votes(browser, "/models/a%20b/vote")).status == 400
        assert town.count(model_votes) == 0

    town.do(work)


def test_a_server_without_accounts_has_no_votes() -> None:
    text = text_of(browse("/models/qwen3-reranker-8b"))
    assert "--model Qwen/Qwen3-Reranker-8B" in text and "/vote" not in text and "charges nothing" in text
    app = create_app(Settings(models=("x",)), Backend(*SERVED))
    assert ask(app, posting(b"", "/models/nano/vote", accept=BROWSER)).status == 404
