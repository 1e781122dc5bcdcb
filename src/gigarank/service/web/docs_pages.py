"""/docs: the documentation, its search, and what language models read of it.

Invariant: each page stands as HTML and, with .md behind its name, as the Markdown that it was made of.
"""

from pathlib import PurePath

from markupsafe import Markup

from gigarank import catalogue
from gigarank.errors import RouteNotFound
from gigarank.service.call import Answer, Call, Endpoint, Route, Routes
from gigarank.service.web import docs_text
from gigarank.service.web.caching import tagged
from gigarank.service.web.catalogue_pages import site_of
from gigarank.service.web.docs_search import search
from gigarank.service.web.headers import FRESH
from gigarank.service.web.rendering import page, rendered

_MARKDOWN = {"content-type": "text/markdown; charset=utf-8", "cache-control": FRESH}
_LONGEST = 300


def _contents() -> list[tuple[str, str]]:
    return [(name, docs_text.title(name)) for name in docs_text.names()]


async def docs_index(call: Call) -> Answer:
    asked = call.query.get("q", "").strip()[:_LONGEST]
    found = await search(call, asked) if asked else None
    return page(call, "docs.html", {"contents": _contents(), "asked": asked, "found": found, "name": "", "body": ""})


async def docs_page(call: Call) -> Answer:
    name = call.parameters["name"]
    body = Markup(docs_text.html(name))  # made of our own Markdown, in which HTML is text
    values = {"contents": _contents(), "asked": "", "found": None, "name": name, "body": body, "title": docs_text.title(name)}
    return page(call, "docs.html", values)


async def docs_markdown(call: Call) -> Answer:
    return tagged(call, docs_text.source(call.parameters["name"]).encode(), _MARKDOWN)


async def docs_picture(call: Call) -> Answer:
    name = call.parameters["picture"]
    if name not in docs_text.pictures():
        raise RouteNotFound(f"docs: no picture {name[:80]!r}", param="path", received=name[:200])
    kind = docs_text.PICTURE_TYPES[PurePath(name).suffix]
    return tagged(call, docs_text.pictures()[name], {"content-type": kind, "cache-control": FRESH})


async def llms_text(call: Call) -> Answer:
    values = {"contents": _contents(), "models": catalogue.MODELS, "site": site_of(call.settings)}
    content = rendered(call.settings, call.path, "llms.txt", values)
    return tagged(call, content, {"content-type": "text/plain; charset=utf-8", "cache-control": FRESH})


def _route(path: str, endpoint: Endpoint, about: str, html: bool = True) -> Route:
    return Route("GET", path, endpoint, about, "pages", listed=False, public=True, page=html)


ROUTES: Routes = (
    _route("/docs", docs_index, "The documentation"),
    _route(f"/docs/{docs_text.IMAGES}/{{picture}}", docs_picture, "A picture in it", html=False),
    _route("/docs/{name:path}.md", docs_markdown, "A page of it, as Markdown"),
    _route("/docs/{name:path}", docs_page, "A page of it"),
    _route("/llms.txt", llms_text, "What there is, for language models", html=False),
)
