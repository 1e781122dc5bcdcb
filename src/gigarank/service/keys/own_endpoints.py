"""/v1/me/keys: a signed-in person's own keys.

Invariant: no text of a key is in an answer but in the one that makes it.
"""

from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.call import Answer
from gigarank.service.credits.money import micros
from gigarank.service.keys import repository, service
from gigarank.service.keys.endpoints import texts
from gigarank.service.keys.schemas import Terms, read_period, read_scopes
from gigarank.service.keys.tokens import MOST_MODELS
from gigarank.service.openai.fields import Fields, as_fields
from gigarank.service.tenant import SCOPES

MOST_KEYS, MOST_NAME = 100, 100
_MOST_SECONDS = 10**11


async def list_keys(office: Office, guest: Guest) -> Answer:
    account_id = guest.person.account_id
    found = await office.desk.database.run(lambda one: repository.of_account(one, account_id))
    return Answer({"object": "list", "data": [key.described(office.now) for key in found]})


async def create_key(office: Office, guest: Guest) -> Answer:
    account_id, terms = guest.person.account_id, _terms(as_fields(guest.call.body, ""), Terms(), office.now)
    secrets = office.desk.secrets
    key, text = await office.desk.database.run(
        lambda one: service.issue_own(one, secrets, account_id, terms, (MOST_KEYS, office.now))
    )
    return Answer({**key.described(office.now), "api_key": text})


async def change_key(office: Office, guest: Guest) -> Answer:
    account_id, key_id = guest.person.account_id, guest.call.parameters["key_id"]
    fields = as_fields(guest.call.body, "")
    disabled = fields.flag("disabled")

    def work(connection: Any) -> Any:
        key = service.find_own(connection, account_id, key_id)
        terms = _terms(fields, key.terms, office.now)
        return service.change(connection, key, terms, key.disabled if disabled is None else disabled, office.now)

    return Answer((await office.desk.database.run(work)).described(office.now))


async def delete_key(office: Office, guest: Guest) -> Answer:
    account_id, key_id = guest.person.account_id, guest.call.parameters["key_id"]
    await office.desk.database.run(lambda one: service.delete(one, account_id, key_id, office.now))
    return Answer({"object": "key", "key_id": key_id, "deleted": True})


def _terms(fields: Fields, old: Terms, now: int) -> Terms:
    """The old terms with what the body says; null takes a bound away. Raises InvalidInput."""
    name, said = fields.text("name"), fields.values
    if name is not None and not (1 <= len(name.strip()) <= MOST_NAME and name.strip().isprintable()):
        message = f"name: from 1 to {MOST_NAME} printable characters, not {len(name.strip())}"
        raise InvalidInput(message, param="name", limit=MOST_NAME, received=len(name.strip()))
    scopes, models = texts(fields, "scopes", len(SCOPES)), texts(fields, "models", MOST_MODELS)
    expires = fields.integer("expires", now + 1, _MOST_SECONDS)
    cap = None if fields.value("cap_usd") is None else micros(fields.value("cap_usd"), "cap_usd")
    period = fields.value("cap_period")
    return Terms(
        old.name if name is None else name.strip(),
        old.scopes if scopes is None else read_scopes(scopes),
        (None if models is None else tuple(models)) if "models" in said else old.models,
        expires if "expires" in said else old.expires,
        cap if "cap_usd" in said else old.cap_micros,
        old.cap_period if period is None else read_period(period),
        old.limits,
    )
