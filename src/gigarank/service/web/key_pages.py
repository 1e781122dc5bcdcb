"""Keys in the console: listed, made, changed, deleted.

Knows the endpoints of keys. Invariant: the text of a key is on the page that its making ends in, and on no other.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.call import Answer
from gigarank.service.keys import own_endpoints as keys
from gigarank.service.keys import service
from gigarank.service.keys.schemas import PERIODS
from gigarank.service.tenant import SCOPES
from gigarank.service.web.console_routes import CONSOLE
from gigarank.service.web.views import Fields, Form, View, shown, to, told
from gigarank.types import JsonObject

_KEYS = f"{CONSOLE}/keys"
_SCOPE, _MODEL = "scope ", "model "


async def _listed(office: Office, guest: Guest) -> Mapping[str, Any]:
    return {"keys": (await told(keys.list_keys, office, guest))["data"], "now": office.now}


async def _one(office: Office, guest: Guest) -> Mapping[str, Any]:
    account_id, key_id = guest.person.account_id, guest.call.parameters["key_id"]
    key = (await office.desk.database.run(lambda one: service.find_own(one, account_id, key_id))).described(office.now)
    return {"key": key, **_choices(guest, guest.call.body or _fields(key))}


async def _new(_office: Office, guest: Guest) -> Mapping[str, Any]:
    usual = {f"{_SCOPE}{scope}": "on" for scope in SCOPES}
    return {"key": None, **_choices(guest, guest.call.body or usual)}


def _choices(guest: Guest, fields: Fields) -> JsonObject:
    """What the form holds: the fields, and the models that may be ticked."""
    served = [state.name for state in guest.call.backend.models()]
    named = [name.removeprefix(_MODEL) for name in fields if name.startswith(_MODEL)]
    return {"fields": fields, "models": list(dict.fromkeys([*served, *named])), "scopes": SCOPES, "periods": PERIODS}


def _fields(key: JsonObject) -> dict[str, str]:
    """A key's terms as the fields of its form, which `read_terms` makes the same terms of."""
    cap = key["spend_cap"] or {"limit_usd": "", "period": "total"}
    expires = "" if key["expires"] is None else f"{datetime.fromtimestamp(key['expires'], UTC):%Y-%m-%dT%H:%M:%S}"
    ticked = [*(_SCOPE + scope for scope in key["scopes"]), *(_MODEL + model for model in key["models"] or ())]
    disabled = {"disabled": "on"} if key["disabled"] else {}
    told_cap = {"cap_usd": cap["limit_usd"], "cap_period": cap["period"]}
    return {"name": key["name"], "expires": expires, **told_cap, **disabled, **dict.fromkeys(ticked, "on")}


def read_terms(fields: Fields) -> JsonObject:
    """As the API's body has them. Raises InvalidInput."""
    models = [name.removeprefix(_MODEL) for name in fields if name.startswith(_MODEL)]
    return {
        "name": fields.get("name"),
        "scopes": [name.removeprefix(_SCOPE) for name in fields if name.startswith(_SCOPE)],
        "models": models or None,
        "expires": _moment(fields.get("expires", "")),
        "cap_usd": fields.get("cap_usd") or None,
        "cap_period": fields.get("cap_period") or None,
        "disabled": "disabled" in fields,
    }


def _moment(text: str) -> int | None:
    """Unix seconds, of a moment in UTC as a browser's input has it."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) if text else None
    except ValueError:
        message = f"expires: a moment as 2026-12-31T23:59 is expected, in UTC; received {text[:40]!r}"
        raise InvalidInput(message, param="expires", limit="YYYY-MM-DDTHH:MM", received=text[:40]) from None


def _made(guest: Guest, answer: Answer) -> Answer:
    site = guest.call.settings.public_url.rstrip("/") or f"http://{guest.call.headers.get('host', '')}"
    return shown(guest, "key_made.html", {"key": answer.body, "site": site})


_NEW, _ONE = View("key.html", _new), View("key.html", _one)
PAGES: Mapping[str, PeopleEndpoint] = {
    f"GET {_KEYS}": View("keys.html", _listed),
    f"GET {_KEYS}/new": _NEW,
    f"POST {_KEYS}/new": Form(keys.create_key, _NEW, _made, read_terms),
    f"GET {_KEYS}/{{key_id}}": _ONE,
    f"POST {_KEYS}/{{key_id}}": Form(keys.change_key, _ONE, to(f"{_KEYS}?done=key"), read_terms),
    f"POST {_KEYS}/{{key_id}}/delete": Form(keys.delete_key, _ONE, to(f"{_KEYS}?done=key-deleted")),
}
