"""From a template and values to an answer.

Knows Jinja and no page. Invariants: what a template is given is escaped; a name that it was not given is an error and not an
empty text.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from gigarank import __version__
from gigarank.service.call import Answer, Call
from gigarank.service.settings import Settings
from gigarank.service.web import shown
from gigarank.service.web.assets import asset
from gigarank.service.web.caching import tagged
from gigarank.service.web.headers import FRESH, GUARDS, HTML

NAV = (("/models", "Models"), ("/playground", "Playground"), ("/docs", "Docs"), ("/status", "Status"))
"""Paths and names, in the order of the header."""


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("gigarank.service.web"),
        autoescape=select_autoescape(disabled_extensions=("md", "txt"), default_for_string=True, default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(shown.FILTERS)
    made.globals.update(asset=asset, version=__version__, nav=NAV)
    return made


def rendered(settings: Settings, path: str, template: str, values: Mapping[str, Any]) -> bytes:
    """`path`: the page's own, which the navigation marks."""
    frame = {"here": path, "accounts": settings.accounts}
    return environment().get_template(template).render({**frame, **values}).encode()


def page(call: Call, template: str, values: Mapping[str, Any], status: int = 200) -> Answer:
    content = rendered(call.settings, call.path, template, values)
    return tagged(call, content, {**GUARDS, "content-type": HTML, "cache-control": FRESH}, status)


def markdown(call: Call, template: str, values: Mapping[str, Any]) -> Answer:
    """For programs that read; whatever they accept."""
    content = rendered(call.settings, call.path, template, values)
    return tagged(call, content, {"content-type": "text/markdown; charset=utf-8", "cache-control": FRESH})


def see_other(path: str) -> Answer:
    """What answers a form: the browser gets `path` of this server instead."""
    return Answer(b"", headers={"location": path, "content-type": HTML, "cache-control": "no-store"}, status=303)
