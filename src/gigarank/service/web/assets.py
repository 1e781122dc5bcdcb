"""The files that pages load, by a path that changes with their contents.

Knows the package's static folder and no page. Invariant: a path with the version in it always means the same bytes, so that
browsers keep them for good; modules import each other by relative paths, and so from the same version.
"""

import hashlib
from functools import cache
from importlib.resources import files

from gigarank.errors import RouteNotFound
from gigarank.service.call import Answer, Call, Route
from gigarank.service.web.caching import tagged
from gigarank.service.web.headers import FOREVER, FRESH

_KINDS = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


@cache
def contents() -> dict[str, bytes]:
    """Every file by its name."""
    folder = files(__package__) / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _KINDS}


@cache
def version() -> str:
    digest = hashlib.sha256()
    for name, content in sorted(contents().items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]


def asset(name: str) -> str:
    """The path of a file; KeyError for one that is not there."""
    _ = contents()[name]
    return f"/static/{version()}/{name}"


async def show_asset(call: Call) -> Answer:
    name = call.parameters["name"]
    if name not in contents():
        raise RouteNotFound(f"no file {name[:80]!r} here", param="path", received=call.path[:200])
    keep = FOREVER if call.parameters["version"] == version() else FRESH
    headers = {"content-type": _KINDS[name.rpartition(".")[2]], "cache-control": keep}
    return tagged(call, contents()[name], headers)


ROUTE = Route("GET", "/static/{version}/{name}", show_asset, "A file of the pages", "pages", listed=False, public=True)
