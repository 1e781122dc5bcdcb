"""Settings of a person: sessions, and what is kept of requests and answers.

Knows the endpoints of the API. Invariant: nothing is kept of whoever does not ask for it.
"""

from collections.abc import Mapping
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.accounts import self_endpoints as me
from gigarank.service.accounts import sign_endpoints as signing
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.bodies import endpoints as bodies
from gigarank.service.web.console_routes import CONSOLE
from gigarank.service.web.views import Fields, Form, View, asked, own, to, told
from gigarank.types import JsonObject

_SETTINGS, _LOGS = f"{CONSOLE}/settings", f"{CONSOLE}/logs"


async def _settings(office: Office, guest: Guest) -> Mapping[str, Any]:
    sessions, logging = signing.list_sessions, own(bodies.show_terms)
    return {
        "account": await told(me.show_me, office, guest),
        "sessions": (await told(sessions, office, guest))["data"],
        "logging": await told(logging, office, guest),
    }


def read_days(fields: Fields) -> JsonObject:
    """As the API's body has them: no days take back what was said. Raises InvalidInput."""
    text = fields.get("days", "").strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidInput(f"days: a number is expected; received {text[:40]!r}", param="days", received=text[:40])
    return {"days": int(text) if text else None}


async def _logs(office: Office, guest: Guest) -> Mapping[str, Any]:
    rows = await told(own(bodies.list_logs), office, guest, **asked(guest, "after", "key_id", "request_id"), limit="50")
    return {"rows": rows}


async def _log(office: Office, guest: Guest) -> Mapping[str, Any]:
    return {"log": await told(own(bodies.show_log), office, guest)}


_VIEW = View("settings.html", _settings)
PAGES: Mapping[str, PeopleEndpoint] = {
    f"GET {_SETTINGS}": _VIEW,
    f"POST {_SETTINGS}": Form(own(bodies.set_terms), _VIEW, to(f"{_SETTINGS}?done=logging"), read_days),
    f"POST {CONSOLE}/sessions/{{session_id}}/end": Form(signing.end_session, _VIEW, to(f"{_SETTINGS}?done=session")),
    f"POST {CONSOLE}/sign-out": Form(signing.sign_out, _VIEW, to("/")),
    f"POST {CONSOLE}/sign-out-everywhere": Form(signing.sign_out_everywhere, _VIEW, to("/sign-in")),
    f"GET {_LOGS}": View("logs.html", _logs),
    f"GET {_LOGS}/{{log_id}}": View("log.html", _log),
    f"POST {_LOGS}/{{log_id}}/delete": Form(own(bodies.delete_log), _VIEW, to(f"{_LOGS}?done=log-deleted")),
}
