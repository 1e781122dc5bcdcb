"""Batches: asked for, found, cancelled. Each function is a part of one transaction.

Knows no HTTP. Invariant: a batch belongs to the account of its file, and its key pays.
"""

import json

from sqlalchemy import Connection, RowMapping

from gigarank.errors import InvalidInput, RateLimited
from gigarank.service.accounts.service import hold_open
from gigarank.service.batches import files, repository
from gigarank.service.batches.schemas import OPEN, WINDOW_S, Asked, not_found
from gigarank.service.ids import new_id
from gigarank.service.tenant import Tenant

_RETRY_S = 30.0  # batches are minutes of work


def create(connection: Connection, tenant: Tenant, asked: Asked, now: int, most: int) -> RowMapping:
    """`most`: open ones of an account. Raises ObjectNotFound, InvalidInput, RateLimited, and AccessDenied where the account has
    ended. The account is locked before its file, as whoever deletes it does, and before its batches are counted."""
    hold_open(connection, tenant.account_id)
    count = repository.open_batches(connection, tenant.account_id)
    if count >= most:
        message = f"max_open_batches: the account has {count} batches that are not done; at most {most}: wait, or cancel some"
        raise RateLimited(message, retry_after=_RETRY_S, param="max_open_batches", limit=most, received=count + 1)
    repository.lock_file(connection, asked.input_file_id)
    found = files.find(connection, tenant.account_id, asked.input_file_id, now)
    if found["purpose"] != "batch":
        message = f"input_file_id: a file of purpose batch is expected; received {found['purpose']}"
        raise InvalidInput(message, param="input_file_id", limit="batch", received=found["purpose"])
    batch_id = new_id("batch")
    repository.add_batch(
        connection,
        id=batch_id,
        account_id=tenant.account_id,
        key_id=tenant.key_id,
        models=None if tenant.models is None else json.dumps(tenant.models),
        endpoint=asked.endpoint,
        input_file_id=asked.input_file_id,
        metadata=None if asked.metadata is None else json.dumps(asked.metadata),
        output_seconds=asked.output_seconds,
        state="validating",
        created=now,
        expires_at=now + WINDOW_S,
        turn=now * 1_000,
    )
    return find(connection, tenant.account_id, batch_id)


def find(connection: Connection, account_id: str, batch_id: str) -> RowMapping:
    """Raises ObjectNotFound."""
    row = repository.batch_of(connection, account_id, batch_id)
    if row is None:
        raise not_found("batch", batch_id)
    return row


def cancel(connection: Connection, account_id: str, batch_id: str, now: int) -> RowMapping:
    """What runs at this moment is still answered. Raises ObjectNotFound, and InvalidInput for one that has ended."""
    found = find(connection, account_id, batch_id)
    stoppable = ("validating", "in_progress")
    changed = repository.change(connection, batch_id, stoppable, state="cancelling", cancelling_at=now)
    if not changed and found["state"] not in OPEN:
        message = f"batch_id: {batch_id} has ended: {found['state']}"
        raise InvalidInput(message, param="batch_id", limit=", ".join(stoppable), received=found["state"])
    return find(connection, account_id, batch_id)
