"""The documentation in the app: every page, its links, its search by our own reranker, and what language models read."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from asgi import Reply, ask, ask_in_turn, getting
from gigarank.catalogue import MODELS
from gigarank.engine.work import Result, Work
from gigarank.errors import Overloaded, RouteNotFound
from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings
from gigarank.service.web import docs_text
from gigarank.service.web.docs_search import CANDIDATES, SHOWN, candidates

ROOT = Path(__file__).parents[2]
BROWSER = "text/html"
each_page = pytest.mark.parametrize("name", docs_text.names())


def get(path: str, accept: str = BROWSER, backend: FakeBackend | None = None, **settings: Any) -> Reply:
    app = create_app(Settings(models=("fake",), **settings), backend or FakeBackend())
    path, _, query = path.partition("?")
    request = getting(path, accept=accept)
    request.query = query
    return ask(app, request)


def text_of(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    return reply.body.decode()


def test_every_page_of_the_documentation_is_there_once() -> None:
    files = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(docs_text.names()) == files and len(docs_text.names()) == len(files)
    assert docs_text.names()[:3] == ("models", "api", "openai")
    index = text_of(get("/docs"))
    assert all(f'href="/docs/{name}"' in index for name in files)


@each_page
def test_a_page_is_its_markdown_with_one_title(name: str) -> None:
    made = docs_text.html(name)
    assert made.count("<h1") == 1 and docs_text.title(name) in html.unescape(re.sub(r"<[^>]+>", "", made))
    assert "not run:" not in re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", made, flags=re.S)
    anchors = re.findall(r'<h\d id="([^"]*)"', made)
    assert len(anchors) == len(set(anchors)) == len(re.findall(r"<h\d", made))


def test_the_prose_of_a_section_has_no_marks() -> None:
    text = "See [the `API`](api.md#x), *now*:\n\n"
    text += "```bash\ngigarank serve\n```\n\n| a | b |\n|---|---|\n\n- one-way\n- two - three\n![a](b.webp)"
    assert docs_text.Section("p", "t", "", text).prose == "See the API, now: one-way two three"


def test_what_is_found_is_shown_as_sentences() -> None:
    shown = text_of(get("/docs?q=gigarank+bench+engine+workload"))
    (found,) = re.findall(r'<ol class="found">.*?</ol>', shown, flags=re.S)
    assert found.count("<li>") == SHOWN and "`" not in found and "|" not in found


@each_page
def test_pictures_of_a_page_say_what_they_show_and_are_there(name: str) -> None:
    for tag in re.findall(r"<img [^>]*>", docs_text.html(name)):
        source, alt = re.findall(r'(?:src|alt)="([^"]*)"', tag)
        assert len(alt) > 20 and 'loading="lazy"' in tag
        assert source.rpartition("/")[2] in docs_text.pictures(), source


def test_a_picture_is_small_and_sent_as_what_it_is() -> None:
    assert len(docs_text.pictures()) >= 14
    for name, content in docs_text.pictures().items():
        assert len(content) < 150_000, name
        assert content[8:12] == b"WEBP" if name.endswith(".webp") else b"<svg" in content[:500], name
    for name, kind in (("limits.webp", "image/webp"), ("plan-million.svg", "image/svg+xml")):
        reply = get(f"/docs/images/{name}", accept="image/*")
        assert (reply.status, reply.headers["content-type"]) == (200, kind)
        assert reply.body == docs_text.pictures()[name]
    for name in ("nothing.webp", "..%2Fapi.md", "../api.md"):
        assert get(f"/docs/images/{name}", accept="image/*").status == 404


@each_page
def test_links_of_a_page_lead_to_pages_and_headings(name: str) -> None:
    for target in re.findall(r'<a href="([^"]+)"', docs_text.html(name)):
        if target.startswith(("http", "#")) or target == "/docs":
            continue
        path, _, anchor = target.partition("#")
        there = docs_text.html(path.removeprefix("/docs/"))
        assert not anchor or f'id="{anchor}"' in there, target


def test_a_page_marks_itself_and_offers_its_markdown() -> None:
    text = text_of(get("/docs/api"))
    assert '<a href="/docs/api" aria-current="page">' in text
    assert '<link rel="alternate" type="text/markdown" href="/docs/api.md">' in text
    for accept in (BROWSER, "*/*"):
        reply = get("/docs/api.md", accept)
        assert reply.headers["content-type"] == "text/markdown; charset=utf-8"
        assert reply.body == (ROOT / "docs" / "api.md").read_bytes()


@each_page
def test_a_page_has_no_style_of_its_own_and_its_tables_have_names(name: str) -> None:
    made = docs_text.html(name)
    assert " style=" not in made and not re.search(r"<th[^>]*></th>", made)
    labels = re.findall(r'aria-label="(Table \d+)"><table>', made)
    assert len(labels) == len(set(labels)) == made.count("<table>")


@pytest.mark.parametrize("name", ["nothing", "../README", "decisions", "api.md.md", "/etc/passwd"])
def test_nothing_else_is_shown(name: str) -> None:
    with pytest.raises(RouteNotFound):
        docs_text.source(name)
    assert get(f"/docs/{name}").status == 404


def test_html_in_markdown_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    page = "# T\n\n<!-- gone -->\n<b>x</b> <script>1</script>\n\n```text\n<!-- stays -->\n```\n[j](javascript:alert(1))\n"
    monkeypatch.setattr(docs_text, "source", lambda _name: page)
    made = docs_text.html.__wrapped__("x")
    assert "<b>" not in made and "<script>" not in made and "gone" not in made
    assert "&lt;!-- stays --&gt;" in made and 'href="javascript' not in made


@pytest.mark.parametrize(
    ("target", "page", "leads"),
    [
        ("api.md#fields", "openai", "/docs/api#fields"),
        ("../api.md", "decisions/0007-database", "/docs/api"),
        ("0008-sessions.md", "decisions/0007-database", "/docs/decisions/0008-sessions"),
        ("decisions/0007-database.md", "api", "/docs/decisions/0007-database"),
        ("../README.md", "api", "/docs"),
        ("https://x.example/a.md", "api", "https://x.example/a.md"),
        ("#here", "api", "#here"),
    ],
)
def test_a_link_stays_in_the_documentation(target: str, page: str, leads: str) -> None:
    assert docs_text._link(target, page) == leads


def test_headings_of_one_name_have_anchors_of_their_own() -> None:
    tokens = MarkdownIt().parse("# A\n# A\n# A\n")
    docs_text._name_headings(tokens)
    assert [token.attrGet("id") for token in tokens if token.type == "heading_open"] == ["a", "a-1", "a-1-1"]


def test_candidates_share_words_and_rare_ones_count_more() -> None:
    found = candidates("the x-csrf-token header of a session")
    assert 0 < len(found) <= CANDIDATES
    assert any("csrf" in one.text for one in found[:3])
    assert candidates("qqqqzzzz") == []


def found_in(text: str) -> list[str]:
    return re.findall(r'<h2><a href="([^"]+)"', text)


class Reversed(FakeBackend):
    """Likes the last document best."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Work] = []

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        self.asked.append(work)
        result = await super().score(model, work, wait_s)
        (some,) = result.outcomes
        turned = [type(one)(one.index, 0.5, float(one.index), 1, False) for one in some]  # type: ignore[call-arg, arg-type]
        return Result((tuple(turned),), result.usage)


def test_the_reranker_puts_what_was_found_in_order() -> None:
    backend = Reversed()
    text = text_of(get("/docs?q=where+are+sessions+kept", backend=backend))
    words = candidates("where are sessions kept")
    assert found_in(text) == [html.escape(one.path) for one in reversed(words)][:SHOWN]
    assert "Put in order by fake." in text
    (work,) = backend.asked
    assert work.deadline is not None and work.priority > 10


class Busy(FakeBackend):
    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        raise Overloaded("the queue is full")


@pytest.mark.parametrize(("backend", "settings"), [(Busy(), {}), (None, {"api_keys": ("k",)})])
def test_without_a_free_reranker_the_words_order_stands(backend: FakeBackend | None, settings: Any) -> None:
    text = text_of(get("/docs?q=where+are+sessions+kept", backend=backend, **settings))
    assert found_in(text) == [html.escape(one.path) for one in candidates("where are sessions kept")[:SHOWN]]
    assert "no reranker is free just now" in text


def test_searching_takes_of_the_visitors_allowance(tmp_path: Path) -> None:
    settings = Settings(models=("fake",), accounts=True, state_dir=str(tmp_path), demo_requests_per_minute=1)
    request = getting("/docs", accept=BROWSER)
    request.query = "q=sessions"
    first, second = ask_in_turn(create_app(settings, FakeBackend()), request, request)
    assert b"Put in order by fake." in first.body and b"no reranker is free" in second.body


def test_what_nobody_wrote_is_not_found_and_what_was_asked_is_escaped() -> None:
    text = text_of(get("/docs?q=%3Cqqqqzzzz"))
    assert "No page has a word of it." in text and "<qqqq" not in text and "&lt;qqqq" in text


def test_llms_txt_lists_models_pages_and_the_api() -> None:
    reply = get("/llms.txt", "*/*", public_url="https://rank.example.org")
    text = text_of(reply)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.startswith("# gigarank\n\n> ") and "&" not in text
    for model in MODELS:
        assert f"(https://rank.example.org/models/{model.name}.md)" in text
    links = re.findall(r"\(https://rank\.example\.org([^)]+)\)", text)
    assert {f"/docs/{name}.md" for name in docs_text.names()} <= set(links)
    replies = [get(link, "*/*") for link in links if link.endswith(".md")][:6]
    assert {reply.status for reply in replies} == {200}
    assert "paths" in json.loads(get("/openapi.json", "*/*").body)
