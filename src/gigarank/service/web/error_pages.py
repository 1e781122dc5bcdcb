"""Errors as a browser shows them, and the way to sign in where that is all that is missing.

Knows errors and no route. Invariant: what a page says of an error is what the API would say of it.
"""

from collections.abc import Mapping
from urllib.parse import quote

from gigarank.errors import GigarankError, NotSignedIn
from gigarank.service.call import Answer, Asked, ErrorPage
from gigarank.service.errors import render
from gigarank.service.settings import Settings
from gigarank.service.web import SIGN_IN
from gigarank.service.web.headers import GUARDS, HTML
from gigarank.service.web.rendering import rendered, see_other

_TITLES: Mapping[int, str] = {
    400: "That is not right yet",
    401: "Sign in first",
    402: "Not enough credit",
    403: "Not allowed",
    404: "Nothing is here",
    405: "Not in this way",
    408: "That took too long",
    413: "That is too much",
    429: "Too often",
    500: "Our mistake",
    503: "Not now",
}


def error_pages(settings: Settings) -> ErrorPage:
    def error_page(error: GigarankError, asked: Asked) -> Answer:
        if isinstance(error, NotSignedIn) and settings.accounts and asked.path != SIGN_IN:
            onward = f"?next={quote(asked.path)}" if asked.method in ("GET", "HEAD") else ""
            return see_other(SIGN_IN + onward)
        status, headers, _ = render(error, "superset", asked.request_id)
        values = {"title": _TITLES.get(status, "That did not work"), "error": error, "request_id": asked.request_id}
        content = rendered(settings, asked.path, "error.html", values)
        told = {**GUARDS, "content-type": HTML, "cache-control": "no-store", **headers}
        return Answer(content, headers=told, status=status, error=error.code)

    return error_page
