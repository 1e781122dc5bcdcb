"""The routes of people, who come with a session's cookie or none; for every server to describe, as those in hosted_routes.py.

Data: the endpoints stand in people_endpoints.py. Invariant: a server without accounts answers 404 on all of them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from gigarank.service import hosted_schemas as hosted
from gigarank.service.accounts import response_schemas as schemas
from gigarank.service.call import Route, Routes, Visitor
from gigarank.service.hosted_routes import unhosted
from gigarank.types import JsonObject

_Method = Literal["GET", "POST", "DELETE"]


def _route(
    visitor: Visitor,
    where: tuple[_Method, str, str],
    summary: str,
    response: JsonObject,
    request: JsonObject | None = None,
    query: Mapping[str, JsonObject] | None = None,
) -> Route:
    """`where`: method, path, and the endpoint's name."""
    method, path, name = where
    return Route(method, path, unhosted, summary, "people", request, response, query=query or {}, hosted=name, visitor=visitor)


def _table(where: tuple[_Method, str, str], summary: str, response: JsonObject, query: Mapping[str, JsonObject]) -> Route:
    return replace(_route("person", where, summary, response, query=query), also=("text/csv",))


_AUTH = "/v1/auth"
_SIGNING = (
    _route("anyone", ("POST", f"{_AUTH}/sign-up", "sign_up"), "Ask for an account", schemas.LETTER, schemas.SIGN_UP),
    _route("anyone", ("POST", f"{_AUTH}/verify", "verify"), "Open the account", schemas.SESSION, schemas.VERIFY),
    _route("anyone", ("POST", f"{_AUTH}/sign-in", "sign_in"), "Begin a session", schemas.SESSION, schemas.SIGN_IN),
    _route("anyone", ("POST", f"{_AUTH}/forgot", "forgot"), "Ask for a new password", schemas.LETTER, schemas.FORGOT),
    _route("anyone", ("POST", f"{_AUTH}/reset", "reset"), "Set a new password", schemas.PASSWORD_CHANGED, schemas.RESET),
    _route(
        *("anyone", ("POST", f"{_AUTH}/confirm-email", "confirm_email"), "Confirm a new address"),
        *(schemas.EMAIL_CHANGED, schemas.TOKEN),
    ),
    _route("person", ("GET", f"{_AUTH}/session", "show_session"), "Who is signed in", schemas.SESSION),
    _route("person", ("GET", f"{_AUTH}/sessions", "list_sessions"), "The account's sessions", schemas.SESSIONS),
    _route("person", ("DELETE", f"{_AUTH}/sessions/{{session_id}}", "end_session"), "End a session", schemas.SESSION_ENDED),
    _route("person", ("POST", f"{_AUTH}/sign-out", "sign_out"), "End this session", schemas.SIGNED_OUT),
    _route(
        *("person", ("POST", f"{_AUTH}/sign-out-everywhere", "sign_out_everywhere"), "End all sessions", schemas.SIGNED_OUT)
    ),
)
_OIDC = (
    _route("anyone", ("GET", f"{_AUTH}/providers", "list_providers"), "Who else may vouch for people", schemas.PROVIDERS),
    replace(
        _route(
            *("anyone", ("GET", f"{_AUTH}/oidc/{{provider}}", "leave"), "Sign in with a provider", schemas.REDIRECT),
            query=schemas.ONWARD_QUERY,
        ),
        statuses=(302,),
    ),
    replace(
        _route(
            *("anyone", ("GET", f"{_AUTH}/oidc/{{provider}}/callback", "come_back"), "Back from a provider", schemas.SESSION),
            query=schemas.BACK_QUERY,
        ),
        statuses=(200, 303),
    ),
)
_OWN = (
    _route("person", ("GET", "/v1/me", "show_me"), "The account that is signed in", schemas.ME),
    _route(
        *("person", ("POST", "/v1/me/password", "change_password"), "Another password"),
        *(schemas.PASSWORD_CHANGED, schemas.NEW_PASSWORD),
    ),
    _route(
        *("person", ("POST", "/v1/me/email", "change_email"), "Another address, once it is confirmed"),
        *(schemas.LETTER, schemas.NEW_EMAIL),
    ),
)
_KEY = "/v1/me/keys/{key_id}"
_ACCOUNT = (
    _route("person", ("POST", "/v1/me/redeem", "redeem"), "Redeem a code", schemas.TOP_UP, schemas.CODE),
    _route("person", ("GET", "/v1/me/credits", "own_credits"), "The account's credit", hosted.CREDITS),
    _route("person", ("GET", "/v1/me/limits", "own_limits"), "What may be asked, and what of it is taken", schemas.LIMITS),
    _table(("GET", "/v1/me/usage", "own_usage"), "The account's usage", hosted.USAGE, hosted.USAGE_QUERY),
    _table(
        *(("GET", "/v1/me/usage/requests", "own_requests"), "The account's requests"),
        *(hosted.REQUESTS, hosted.REQUESTS_QUERY),
    ),
    _route("person", ("GET", "/v1/me/keys", "list_keys"), "The account's keys", schemas.OWN_KEYS),
    _route("person", ("POST", "/v1/me/keys", "create_key"), "A new key, shown this once", schemas.MADE_KEY, schemas.NEW_KEY),
    _route("person", ("POST", _KEY, "change_key"), "Other terms of a key", schemas.OWN_KEY, schemas.KEY_CHANGE),
    _route("person", ("DELETE", _KEY, "delete_key"), "Delete a key", schemas.KEY_DELETED),
    _route("person", ("GET", "/v1/me/export", "export_account"), "All that is kept of the account", schemas.EXPORT),
    _route(
        *("person", ("POST", "/v1/me/delete", "delete_me"), "Delete the account"),
        *(schemas.ACCOUNT_DELETED, schemas.PASSWORD),
    ),
)
_OPERATORS = (
    _route(
        *("operator", ("GET", "/v1/operator/accounts", "list_accounts"), "All accounts", schemas.ACCOUNTS),
        query=schemas.PAGE_QUERY,
    ),
    _route("operator", ("GET", "/v1/operator/queues", "show_queues"), "What waits, and how full batches are", schemas.QUEUES),
    _route("operator", ("GET", "/v1/operator/accounts/{account_id}", "show_any_account"), "An account", schemas.ACCOUNT),
)
ROUTES: Routes = (*_SIGNING, *_OIDC, *_OWN, *_ACCOUNT, *_OPERATORS)
