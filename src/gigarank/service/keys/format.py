"""How a key is written: `grk_`, 32 random characters, 6 that check them.

The check tells a mistyped or cut key from an unknown one without asking anybody, and lets a scanner of repositories know ours.
Knows no database. Invariant: a key has 190 bits from the system's source of randomness.
"""

import secrets
import string
import zlib

PREFIX = "grk_"
_ALPHABET = string.digits + string.ascii_letters
_RANDOM, _CHECK = 32, 6
_SHOWN = 8


def make() -> str:
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return body + _check(body)


def is_ours(text: str) -> bool:
    """Whether it was made here, or by somebody who knows how."""
    right = len(text) == len(PREFIX) + _RANDOM + _CHECK and text.startswith(PREFIX) and text.isascii()
    return right and _check(text[:-_CHECK]) == text[-_CHECK:]


def shown(key: str) -> str:
    """What may be told of it later."""
    return key[: len(PREFIX) + _SHOWN - 4]


def _check(body: str) -> str:
    rest, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
