"""What operators see and do: accounts, the life of models, queues, and whether all is well.

Knows the services. Each route asks for the role. Invariant: an operator does not shut the own account.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gigarank.errors import InvalidInput
from gigarank.service import standing
from gigarank.service.accounts import operator_endpoints as operators
from gigarank.service.accounts import repository, service
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.accounts.schemas import State
from gigarank.service.call import Answer
from gigarank.service.catalogue import service as catalogue
from gigarank.service.catalogue.schemas import MOVES, read_model, read_state
from gigarank.service.credits.money import micros
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import audit, grant
from gigarank.service.openai.fields import Fields
from gigarank.service.usage.schemas import read_limit
from gigarank.service.web.console_routes import OPERATOR
from gigarank.service.web.views import Form, View, to, told

_MOST_REASON = 200
_PAGE = 50


async def _accounts(office: Office, guest: Guest) -> Mapping[str, Any]:
    query = guest.call.query
    limit, after, part = read_limit(query.get("limit"), _PAGE, 1_000), query.get("after", ""), query.get("search", "").strip()
    found = await office.desk.database.run(lambda one: repository.search(one, part, after, limit + 1))
    return {"rows": [one.shown() for one in found[:limit]], "more": found[limit - 1].id if len(found) > limit else None}


async def _account(office: Office, guest: Guest) -> Mapping[str, Any]:
    name = guest.call.parameters["account_id"]
    return {"account": (await office.desk.database.run(lambda one: service.find(one, name))).shown()}


async def _grant(office: Office, guest: Guest) -> Answer:
    fields, name = Fields(guest.call.body), guest.call.parameters["account_id"]
    reason = fields.required_text("reason").strip()
    if len(reason) > _MOST_REASON:
        message = f"reason: at most {_MOST_REASON} characters, not {len(reason)}"
        raise InvalidInput(message, param="reason", limit=_MOST_REASON, received=len(reason))
    given = Grant(micros(fields.required_text("usd"), "usd"), reason)
    await office.desk.database.run(lambda one: grant(one, service.find(one, name).id, given, office.now))
    return Answer({})


async def _set_state(office: Office, guest: Guest) -> Answer:
    name = guest.call.parameters["account_id"]
    state: State = "suspended" if Fields(guest.call.body).choice("state", ("active", "suspended")) == "suspended" else "active"
    if name == guest.person.account_id:
        raise InvalidInput("account: is your own; another operator may do that", param="account", received=name)
    await office.desk.database.run(lambda one: service.set_state(one, name, state))
    return Answer({})


async def _models(office: Office, _guest: Guest) -> Mapping[str, Any]:
    return {"models": await office.desk.database.run(lambda one: catalogue.page(one, None, None, office.now)), "moves": MOVES}


async def _propose(office: Office, guest: Guest) -> Answer:
    name = read_model(Fields(guest.call.body).given("model"))
    return Answer(await office.desk.database.run(lambda one: catalogue.propose(one, name, office.now)))


async def _move(office: Office, guest: Guest) -> Answer:
    fields = Fields(guest.call.body)
    name, state = fields.required_text("model"), read_state(fields.required_text("state"))
    moved = await office.desk.database.run(lambda one: catalogue.move(one, name, state, office.post, office.now))
    office.letters.set()
    return Answer(moved)


async def _queues(office: Office, guest: Guest) -> Mapping[str, Any]:
    return {"queues": await told(operators.show_queues, office, guest)}


async def _health(office: Office, guest: Guest) -> Mapping[str, Any]:
    found = await office.desk.database.run(lambda one: (audit(one).shown(), standing.held(one, office.now)))
    return {"audit": found[0], "held": found[1], "states": guest.call.backend.models(), "ready": guest.call.backend.ready()}


def _back(done: str) -> Any:
    return lambda guest, _answer: f"{OPERATOR}/accounts/{quote(guest.call.parameters['account_id'])}?done={done}"


_ONE, _LIFE = View("operator_account.html", _account), View("operator_models.html", _models)
_ACCOUNT = f"{OPERATOR}/accounts/{{account_id}}"
PAGES: Mapping[str, PeopleEndpoint] = {
    f"GET {OPERATOR}": View("operator.html", _accounts),
    f"GET {_ACCOUNT}": _ONE,
    f"POST {_ACCOUNT}/grant": Form(_grant, _ONE, _back("granted")),
    f"POST {_ACCOUNT}/state": Form(_set_state, _ONE, _back("state")),
    f"GET {OPERATOR}/models": _LIFE,
    f"POST {OPERATOR}/models": Form(_propose, _LIFE, to(f"{OPERATOR}/models?done=model")),
    f"POST {OPERATOR}/models/state": Form(_move, _LIFE, to(f"{OPERATOR}/models?done=model")),
    f"GET {OPERATOR}/queues": View("operator_queues.html", _queues),
    f"GET {OPERATOR}/health": View("operator_health.html", _health),
}
