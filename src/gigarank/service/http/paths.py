"""From a method and a path to a route.

Knows routes and no requests. Invariant: a path without parameters is found by one look into a table; slashes too many, as
clients make them that join a base and a path, do not matter.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

from gigarank.errors import MethodNotAllowed, RouteNotFound
from gigarank.service.call import Route, Routes

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")

Methods = dict[str, Route]


class Paths:
    """Of two routes for one method and path the first counts; of a page and another route the page, for whoever accepts HTML,
    and the other one for all others."""

    def __init__(self, routes: Routes) -> None:
        self._pages = _Table([route for route in routes if route.page])
        self._others = _Table([route for route in routes if not route.page])

    def find(self, method: str, path: str, html: bool = False) -> tuple[Route, Mapping[str, str]]:
        tables = (self._pages, self._others) if html else (self._others, self._pages)
        allowed: set[str] = set()
        for table in tables:
            methods, parameters = table.methods(path)
            if (route := methods.get("GET" if method == "HEAD" else method)) is not None:
                return route, parameters
            allowed |= set(methods)
        if not allowed:
            raise RouteNotFound("no such path here; /openapi.json lists them", param="path", received=path[:200])
        named = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"{method} is not allowed here; {named} is", param="method", limit=named, received=method)


class _Table:
    def __init__(self, routes: Routes) -> None:
        self._exact: dict[str, Methods] = defaultdict(dict)
        patterns: dict[str, Methods] = defaultdict(dict)
        for route in routes:
            (patterns if "{" in route.path else self._exact)[route.path].setdefault(route.method, route)
        self._patterns = [(_compiled(path), methods) for path, methods in patterns.items()]

    def methods(self, path: str) -> tuple[Methods, Mapping[str, str]]:
        """None at all for a path that is not there."""
        if path in self._exact:
            return self._exact[path], {}
        plain = re.sub(r"/{2,}", "/", path).rstrip("/") or "/"
        if plain in self._exact:
            return self._exact[plain], {}
        for pattern, methods in self._patterns:
            if found := pattern.fullmatch(plain):
                return methods, found.groupdict()
        return {}, {}


def _compiled(path: str) -> re.Pattern[str]:
    """`{name}` matches what stands between two slashes, `{name:path}` slashes too."""
    parts = _PARAMETER.split(path)  # text, name, ":path" or None, text, ...
    source = [re.escape(parts[0])]
    for name, slashes, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        source += [f"(?P<{name}>{'.+' if slashes else '[^/]+'})", re.escape(text)]
    return re.compile("".join(source))
