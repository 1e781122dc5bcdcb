"""How credit comes in beside an operator's grant: a provider says what a proof is worth, and it is granted.

Each function is a part of one transaction. Invariant: a proof is worth something once; of several accounts that show it at the
same time, one gets it.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from gigarank.errors import InvalidInput
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.ids import new_id
from gigarank.service.topup_tables import codes

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # without I, L, O and U
_GROUPS, _LENGTH = 4, 5
MOST_AT_ONCE = 1_000


class TopUpProvider(Protocol):
    """A way by which credit comes in: a code, or whoever takes payments."""

    def claim(self, connection: Connection, account_id: str, proof: str, now: int) -> Grant:
        """What the proof is worth to the account, and to nobody again. Raises InvalidInput."""
        ...


class Codes:
    """Codes that an operator made."""

    def claim(self, connection: Connection, account_id: str, proof: str, now: int) -> Grant:
        mine = update(codes).where(codes.c.digest == _digest(proof), codes.c.account_id.is_(None))
        mine = mine.where(or_(codes.c.expires.is_(None), codes.c.expires > now))
        taken = mine.values(account_id=account_id, redeemed=now).returning(codes.c.id, codes.c.amount_micros)
        row = connection.execute(taken).mappings().first()
        if row is None:
            raise InvalidInput("code: is none, was used, or is over", param="code", limit="once")
        return Grant(row["amount_micros"], f"code {row['id']}")


def top_up(connection: Connection, provider: TopUpProvider, account_id: str, proof: str, now: int) -> tuple[str, Grant]:
    """The grant's id, and the grant. Raises InvalidInput; the transaction that it ends has claimed nothing."""
    given = provider.claim(connection, account_id, proof, now)
    return grant(connection, account_id, given, now), given


def make_codes(connection: Connection, amount_micros: int, count: int, expires: int | None, now: int) -> list[tuple[str, str]]:
    """(id, code) of each; the codes can be told by nobody again. Raises InvalidInput."""
    if amount_micros <= 0:
        raise InvalidInput("usd: must be above 0", param="usd", limit=0, received=amount_micros)
    if expires is not None and expires <= now:
        raise InvalidInput("expires: is over", param="expires", limit=now, received=expires)
    made = [(new_id("code"), _new_code()) for _ in range(count)]
    values = {"amount_micros": amount_micros, "expires": expires, "created": now}
    for code_id, code in made:
        connection.execute(insert(codes).values(id=code_id, digest=_digest(code), **values))
    return made


def every_code(connection: Connection) -> Sequence[RowMapping]:
    """Without their digests, the oldest first."""
    shown = [codes.c[name] for name in ("id", "amount_micros", "expires", "account_id", "redeemed", "created")]
    return connection.execute(select(*shown).order_by(codes.c.created, codes.c.id)).mappings().all()


def _new_code() -> str:
    """100 bits, so that its digest needs no salt."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)) for _ in range(_GROUPS))


def _digest(code: str) -> str:
    """However it was typed."""
    plain = "".join(code.upper().split()).replace("-", "")
    return hashlib.sha256(b"code " + plain.encode("utf-8", "surrogatepass")).hexdigest()
