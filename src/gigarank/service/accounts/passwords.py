"""Passwords: what is one, and its Argon2id hash, made beside the event loop.

Knows no account. Invariants: at most so many hashes are computed at a time, each of which needs 64 MiB; a name that is not
known costs what a wrong password costs.
"""

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from gigarank.errors import InvalidInput, Overloaded
from gigarank.service.accounts.common_passwords import COMMON

LEAST_CHARACTERS, MOST_BYTES = 10, 128
_AT_ONCE, _MOST_WAITING = 2, 64
_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)  # RFC 9106's second choice, in one thread
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=1$c2l4dGVlbiBieXRlcyE$" + "A" * 43
"""A hash of no password, as costly as any."""


class Passwords:
    """`close` it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, "gigarank-argon2")
        self._waiting = 0

    async def hashed(self, text: str) -> str:
        """Raises Overloaded."""
        return str(await self._off_loop(_HASHER.hash, text))

    async def fits(self, text: str, kept: str | None) -> bool:
        """Whether it is the password of which `kept` is the hash; None is nobody's. Raises Overloaded."""
        return bool(await self._off_loop(_fits, text, kept)) and kept is not None

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    async def _off_loop(self, work: Any, *arguments: Any) -> Any:
        if self._waiting >= _MOST_WAITING:
            message = f"{self._waiting} passwords are being checked; try again in a moment"
            raise Overloaded(message, retry_after=1.0, limit=_MOST_WAITING, received=self._waiting + 1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


def _fits(text: str, kept: str | None) -> bool:
    try:
        return _HASHER.verify(_NOBODYS if kept is None else kept, text)
    except VerifyMismatchError:
        return False


def read_new_password(given: Any, email: str, param: str = "password") -> str:
    """One that may be chosen. Raises InvalidInput, which never holds what was sent."""
    text = read_password(given, param)
    if len(text) < LEAST_CHARACTERS:
        message = f"{param}: at least {LEAST_CHARACTERS} characters, not {len(text)}"
        raise InvalidInput(message, param=param, limit=LEAST_CHARACTERS, received=len(text))
    plain = text.casefold()
    if plain in COMMON or len(set(plain)) < 4 or plain in (email, email.partition("@")[0]):
        message = f"{param}: is among the first that are guessed: choose another one"
        raise InvalidInput(message, param=param, limit="not a common password")
    return text


def read_password(given: Any, param: str = "password") -> str:
    """One that somebody may have. The same characters are the same password, however a keyboard composes them."""
    if not isinstance(given, str) or not given:
        raise InvalidInput(f"{param}: a text is expected", param=param, limit="string")
    text = unicodedata.normalize("NFKC", given)
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MOST_BYTES:
        message = f"{param}: at most {MOST_BYTES} bytes, not {size}"
        raise InvalidInput(message, param=param, limit=MOST_BYTES, received=size)
    return text
