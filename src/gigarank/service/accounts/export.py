"""All that is kept of an account, as one JSON object, written piece by piece into a file. Knows no HTTP.

Invariant: nothing by which a key, a session or a password could be known is in it; a page of rows at a time is in memory, of
rows with texts a small one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import orjson
from sqlalchemy import Connection, Table, select

from gigarank.service.accounts import identities, service
from gigarank.service.db import Database
from gigarank.service.offer_tables import bodies, body_terms, model_votes
from gigarank.service.tables import batches, files, grants, keys, ledger, links, people, repeats, sessions, usage
from gigarank.service.topup_tables import codes, free_credits

_SECRET = ("digest", "secret_id", "password", "owner", "holder", "held_until", "turn")
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class _Part:
    """`key`: by which its rows are read in turn. `page`: the most that are in memory."""

    table: Table
    key: str = "id"
    page: int = 1_000


_PARTS = (
    *map(_Part, (sessions, keys, grants, ledger, usage, files, batches, body_terms, codes)),
    _Part(bodies, page=20),
    _Part(repeats, "name", page=1),  # as large as an answer
    _Part(links, "digest"),
    _Part(model_votes, "model_id"),
    *(_Part(table, "account_id") for table in (people, free_credits)),
)


def write(database: Database, account_id: str, stream: IO[bytes]) -> int:
    """Blocks. Gives how many bytes were written."""
    account = database.call(lambda one: service.find(one, account_id))
    stream.write(b'{"object":"export","account":' + orjson.dumps(account.shown()))
    elsewhere = database.call(lambda one: identities.of_account(one, account_id))
    stream.write(b',"identities":' + orjson.dumps(elsewhere))
    for part in _PARTS:
        stream.write(f',"{part.table.name}":['.encode())
        for number, row in enumerate(_rows(database, part, account_id)):
            stream.write((b"," if number else b"") + orjson.dumps(row, default=_text))
        stream.write(b"]")
    stream.write(b"}")
    return stream.tell()


def _text(content: Any) -> str:
    return bytes(content).decode("utf-8", "replace")


def _rows(database: Database, part: _Part, account_id: str) -> Iterator[dict[str, Any]]:
    table, key = part.table, part.table.c[part.key]
    columns = [column for column in table.c if column.name not in _SECRET]

    def page(connection: Connection, after: str) -> list[Any]:
        mine = select(key, *columns).where(table.c.account_id == account_id, key > after)
        return list(connection.execute(mine.order_by(key).limit(min(part.page, _PAGE))))

    after = ""
    while rows := database.call(lambda one, after=after: page(one, after)):  # type: ignore[misc]
        for row in rows:
            yield {str(column.name): value for column, value in zip(columns, row[1:], strict=True)}
        after = rows[-1][0]
