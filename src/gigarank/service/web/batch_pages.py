"""Batches in the console: files sent, batches started, watched and cancelled, results fetched.

Knows the endpoints of files and batches, which keys ask. Invariant: a batch is paid by a key of the person's own that may ask
models.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gigarank.service.accounts.cookies import check_csrf
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.accounts.self_endpoints import with_tenant
from gigarank.service.batches import endpoints as batches
from gigarank.service.batches.schemas import ENDPOINTS, OPEN, WINDOW
from gigarank.service.call import Answer, tenant_of
from gigarank.service.keys import own_endpoints as keys
from gigarank.service.keys.service import acting
from gigarank.service.openai.fields import Fields as Body
from gigarank.service.tenant import Limits
from gigarank.service.web.console_routes import CONSOLE
from gigarank.service.web.rendering import see_other
from gigarank.service.web.views import Fields, Form, View, asked, own, to, told
from gigarank.types import JsonObject

_BATCHES, _FILES = f"{CONSOLE}/batches", f"{CONSOLE}/files"


async def _listed(office: Office, guest: Guest) -> Mapping[str, Any]:
    named = (await told(keys.list_keys, office, guest))["data"]
    files = (await told(own(batches.list_files), office, guest))["data"]
    return {
        "batches": await told(own(batches.list_batches), office, guest, **asked(guest, "after")),
        "files": files,
        "sent": [(file["id"], file["filename"]) for file in files if file["purpose"] == "batch"],
        "keys": [(key["key_id"], key["name"]) for key in named if not key["disabled"] and "inference" in key["scopes"]],
        "endpoints": [(path, path) for path in ENDPOINTS],
        "max_bytes": guest.call.settings.max_file_bytes,
    }


async def _one(office: Office, guest: Guest) -> Mapping[str, Any]:
    batch = await told(own(batches.show_batch), office, guest)
    return {"batch": batch, "open": batch["status"] in OPEN}


async def _send(office: Office, guest: Guest) -> Answer:
    call = with_tenant(guest)
    kept = await batches.create_file(office.desk, call, lambda fields: check_csrf({}, guest.token, fields))
    return see_other(f"{_BATCHES}?file={kept.body['id']}&done=file")


async def _fetch(office: Office, guest: Guest) -> Answer:
    content = await own(batches.file_content)(office, guest)
    name = guest.call.parameters["file_id"]
    saved = {"content-disposition": f'attachment; filename="{name}.jsonl"'}
    return replace(content, headers={**content.headers, **saved})


async def _start(office: Office, guest: Guest) -> Answer:
    key_id, usual = Body(guest.call.body).required_text("key_id"), Limits.usual(guest.call.settings)
    mine = replace(tenant_of(with_tenant(guest)), account_limits=usual)
    tenant = await office.desk.database.run(lambda one: acting(one, mine, key_id, office.now))
    return await batches.create_batch(office.desk, replace(guest.call, tenant=tenant))


def _asked(fields: Fields) -> JsonObject:
    named = {name: fields.get(name) for name in ("key_id", "input_file_id", "endpoint")}
    return {**named, "completion_window": WINDOW}


def _started(_guest: Guest, answer: Answer) -> str:
    return f"{_BATCHES}/{answer.body['id']}"


def _cancelled(guest: Guest, _answer: Answer) -> str:
    return f"{_BATCHES}/{guest.call.parameters['batch_id']}?done=cancelled"


_LIST, _BATCH = View("batches.html", _listed), View("batch.html", _one)
PAGES: Mapping[str, PeopleEndpoint] = {
    f"GET {_BATCHES}": _LIST,
    f"POST {_BATCHES}": Form(_start, _LIST, _started, _asked),
    f"GET {_BATCHES}/{{batch_id}}": _BATCH,
    f"POST {_BATCHES}/{{batch_id}}/cancel": Form(own(batches.cancel_batch), _BATCH, _cancelled),
    f"POST {_FILES}": _send,
    f"GET {_FILES}/{{file_id}}": _fetch,
    f"POST {_FILES}/{{file_id}}/delete": Form(own(batches.delete_file), _LIST, to(f"{_BATCHES}?done=file-deleted")),
}
