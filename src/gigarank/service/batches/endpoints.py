"""/v1/files and /v1/batches, as OpenAI's clients ask for them.

Invariant: what another account has is not found, as what nobody has.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import IO, Any

from sqlalchemy import Connection

from gigarank.errors import InvalidInput, RequestTooLarge
from gigarank.service.accounts.service import hold_open
from gigarank.service.batches import files, repository, service
from gigarank.service.batches.schemas import LEAST_LIFE_S, MOST_LIFE_S, PURPOSES, batch_shown, file_shown, read_batch
from gigarank.service.batches.storage import BLOCK, Store, drop, finish
from gigarank.service.batches.upload import Form
from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.desk import Desk
from gigarank.service.keys.service import require_scope
from gigarank.service.openai.fields import Fields
from gigarank.service.tables import batches as batch_table
from gigarank.service.usage.schemas import read_limit
from gigarank.types import JsonObject

Accept = Callable[[Mapping[str, str]], None]
_FORM_BYTES = 64 * 1024  # of a form beside its file
_MOST_FILES, _USUAL_BATCHES, _MOST_BATCHES = 10_000, 20, 100


def _accept_all(_fields: Mapping[str, str]) -> None:
    """A key needs no more."""


async def create_file(desk: Desk, call: Call, accept: Accept = _accept_all) -> Answer:
    """What is announced has its room from the first byte on, and gives it back where it does not come. `accept` looks at the
    form's fields, and raises what refuses it."""
    account_id, file_id, size = tenant_of(call).account_id, files.new_file_id(), _announced(call)
    async with AsyncExitStack() as after:
        async with AsyncExitStack() as undone:
            undone.push_async_callback(desk.database.run, lambda one: repository.remove_pending(one, file_id))
            await desk.database.run(lambda one: _announce(one, desk, call, file_id, size))
            stream = await asyncio.to_thread(desk.depot.spool.new)
            after.push_async_callback(asyncio.to_thread, drop, stream)
            await _received(desk, call, (file_id, stream), accept)
            undone.pop_all()  # from now on its bytes may be in the store
        source = await asyncio.to_thread(finish, stream)
        await asyncio.to_thread(files.store_announced, desk.database, desk.depot.store, file_id, source)
        await desk.database.run(lambda one: repository.set_file(one, file_id, state="ready"))
        return Answer(file_shown(await desk.database.run(lambda one: files.find(one, account_id, file_id, desk.now))))


async def _received(desk: Desk, call: Call, target: tuple[str, IO[bytes]], accept: Accept) -> None:
    """`target`: the file's id, and where its bytes go. Raises InvalidInput, RequestTooLarge, AccessDenied, RequestTimeout."""
    file_id, stream = target
    account_id, form = tenant_of(call).account_id, Form(stream, call.settings.max_file_bytes)
    await form.read(_body(call), call.headers.get("content-type", ""))
    accept(form.fields)
    expires = desk.now + _life(form.fields)

    def measured(one: Connection) -> None:
        hold_open(one, account_id)
        repository.set_file(one, file_id, bytes=0)
        files.check_room(one, account_id, form.size, call.settings.max_stored_bytes)
        repository.set_file(one, file_id, bytes=form.size, filename=form.filename or "file", expires=expires)

    await desk.database.run(measured)


def _announce(one: Connection, desk: Desk, call: Call, file_id: str, size: int) -> None:
    """Raises RequestTooLarge, AccessDenied."""
    account_id = tenant_of(call).account_id
    files.announce(one, account_id, file_id, ("batch", "file", 0), (desk.now, desk.now + files.LIFE_S))
    files.check_room(one, account_id, size, call.settings.max_stored_bytes)
    repository.set_file(one, file_id, bytes=size)


async def list_files(desk: Desk, call: Call) -> Answer:
    account_id = tenant_of(call).account_id
    limit, purpose = read_limit(call.query.get("limit"), _MOST_FILES, _MOST_FILES), call.query.get("purpose")
    which = {"account_id": account_id, "state": "ready"} | ({} if purpose is None else {"purpose": purpose})
    _choice(call.query, "purpose", PURPOSES)
    if _choice(call.query, "order", ("asc", "desc")) == "asc":
        message = "order: the newest come first; asc is not on offer"
        raise InvalidInput(message, param="order", limit="desc", received="asc")
    after = call.query.get("after")
    rows = await desk.database.run(lambda one: repository.page_of_files(one, which, desk.now, after, limit + 1))
    return _page([file_shown(row) for row in rows], limit)


async def show_file(desk: Desk, call: Call) -> Answer:
    account_id, file_id = tenant_of(call).account_id, call.parameters["file_id"]
    return Answer(file_shown(await desk.database.run(lambda one: files.find(one, account_id, file_id, desk.now))))


async def file_content(desk: Desk, call: Call) -> Answer:
    account_id, file_id = tenant_of(call).account_id, call.parameters["file_id"]
    found = await desk.database.run(lambda one: files.find(one, account_id, file_id, desk.now))
    first = await asyncio.to_thread(desk.depot.store.read, file_id, 0, BLOCK)
    headers = {"content-type": "application/jsonl"}
    return Answer(None, headers=headers, stream=_streamed(desk.depot.store, file_id, first), size=found["bytes"])


async def delete_file(desk: Desk, call: Call) -> Answer:
    account_id, file_id = tenant_of(call).account_id, call.parameters["file_id"]
    await desk.database.run(lambda one: files.give_up(one, account_id, file_id, desk.now))
    await asyncio.to_thread(desk.depot.store.delete, file_id)
    await desk.database.run(lambda one: repository.remove_file(one, file_id))
    return Answer({"id": file_id, "object": "file", "deleted": True})


async def create_batch(desk: Desk, call: Call) -> Answer:
    """Its lines ask models, which needs that scope too, beside the one of batches."""
    tenant, asked = tenant_of(call), read_batch(call.body)
    require_scope(tenant, "inference")
    most = call.settings.max_open_batches
    row = await desk.database.run(lambda one: service.create(one, tenant, asked, desk.now, most))
    desk.depot.work.set()
    return Answer(batch_shown(row))


async def list_batches(desk: Desk, call: Call) -> Answer:
    which = {"account_id": tenant_of(call).account_id}
    limit, after = read_limit(call.query.get("limit"), _USUAL_BATCHES, _MOST_BATCHES), call.query.get("after")
    rows = await desk.database.run(lambda one: repository.page(one, batch_table, which, after, limit + 1))
    return _page([batch_shown(row) for row in rows], limit)


async def show_batch(desk: Desk, call: Call) -> Answer:
    account_id, batch_id = tenant_of(call).account_id, call.parameters["batch_id"]
    return Answer(batch_shown(await desk.database.run(lambda one: service.find(one, account_id, batch_id))))


async def cancel_batch(desk: Desk, call: Call) -> Answer:
    account_id, batch_id = tenant_of(call).account_id, call.parameters["batch_id"]
    row = await desk.database.run(lambda one: service.cancel(one, account_id, batch_id, desk.now))
    desk.depot.work.set()
    return Answer(batch_shown(row))


def _announced(call: Call) -> int:
    """By the body's length, before any of it is read; one that says no length may be as long as any. Raises
    RequestTooLarge."""
    length, settings = call.headers.get("content-length", ""), call.settings
    size = max(0, int(length) - _FORM_BYTES) if length.isdecimal() else settings.max_file_bytes
    if size > settings.max_file_bytes:
        message = f"file: {length} bytes with its form; at most {settings.max_file_bytes} (max_file_bytes)"
        raise RequestTooLarge(message, param="file", limit=settings.max_file_bytes, received=int(length))
    return size


def _body(call: Call) -> AsyncIterator[bytes]:
    if call.upload is None:
        raise InvalidInput("body: multipart/form-data is expected", param="body", limit="multipart/form-data")
    return call.upload


def _life(form: Mapping[str, str]) -> int:
    """Seconds. Raises InvalidInput for what the form says of purpose and end."""
    Fields(form).required_text("purpose")
    _choice(form, "purpose", PURPOSES[:1])
    _choice(form, "expires_after[anchor]", ("created_at",))
    seconds = form.get("expires_after[seconds]")
    if seconds is None:
        return files.LIFE_S
    number = int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 10 else 0
    if not LEAST_LIFE_S <= number <= MOST_LIFE_S:
        message = f"expires_after: from {LEAST_LIFE_S} to {MOST_LIFE_S} seconds; received {seconds[:20]!r}"
        raise InvalidInput(message, param="expires_after", limit=MOST_LIFE_S, received=seconds[:20])
    return number


def _choice(given: Mapping[str, str], name: str, allowed: Sequence[str]) -> str | None:
    return Fields(given).choice(name, allowed)


async def _streamed(store: Store, name: str, first: bytes) -> AsyncIterator[bytes]:
    offset, block = 0, first
    while block:
        yield block
        offset += len(block)
        block = await asyncio.to_thread(store.read, name, offset, BLOCK)


def _page(shown: list[JsonObject], limit: int) -> Answer:
    """OpenAI's list. One row more than `limit` was asked for, to know whether there are more."""
    rows = shown[:limit]
    ends: dict[str, Any] = {"first_id": rows[0]["id"] if rows else None, "last_id": rows[-1]["id"] if rows else None}
    return Answer({"object": "list", "data": rows, **ends, "has_more": len(shown) > limit})
