"""The rerank routes: every dialect's own paths, and those that dialects share, where the call's content decides.

Invariant: which dialect answers depends on the path and the call alone; on a shared path at most one claims a call, and where
none does the path's own dialect answers.
"""

from importlib import import_module
from pkgutil import iter_modules

from gigarank.errors import GigarankError
from gigarank.service.call import Answer, Call, Endpoint, Route
from gigarank.service.errors import render
from gigarank.service.rerank import dialects, info
from gigarank.service.rerank.dialect import Dialect, Path


def _found() -> tuple[Dialect, ...]:
    names = sorted(module.name for module in iter_modules(dialects.__path__))
    return tuple(import_module(f"{dialects.__name__}.{name}").DIALECT for name in names)


DIALECTS = _found()


def speaker(call: Call, own: Dialect) -> Dialect:
    """The dialect that a call to one of `own`'s paths is in."""
    if not own.shares:
        return own
    return next((dialect for dialect in DIALECTS if dialect.claims is not None and dialect.claims(call)), own)


def _endpoint(own: Dialect) -> Endpoint:
    async def answer(call: Call) -> Answer:
        dialect = speaker(call, own)
        if dialect is own or dialect.error_style == "superset":
            return await dialect.answer(call)
        try:
            return await dialect.answer(call)
        except GigarankError as error:  # the route's style is not this dialect's
            status, headers, body = render(error, dialect.error_style, call.request_id)
            return Answer(body, headers=headers, status=status, error=error.code)

    return answer


def _route(dialect: Dialect, path: Path, endpoint: Endpoint) -> Route:
    return Route(
        "POST",
        path.path,
        endpoint,
        dialect.summary,
        "rerank",
        dialect.request,
        dialect.response,
        path.style,
        path.listed,
    )


ROUTES: tuple[Route, ...] = (
    *(_route(dialect, path, _endpoint(dialect)) for dialect in DIALECTS for path in dialect.paths),
    *info.ROUTES,
)
