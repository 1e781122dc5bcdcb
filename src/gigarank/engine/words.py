"""Text as the words that a term index counts, in every script.

Where blanks stand between words, a word is a run of letters, digits and combining marks. Chinese and Japanese have no blanks:
there the terms are single characters and pairs of neighbours; in Thai, Lao, Khmer and Burmese every four characters in a row.
No dictionary, no stemming, no stop words. Invariant: the same text gives the same terms on every machine, and queries and
documents are cut alike.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

VERSION = "words-1"

_PAIRED = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_FOURS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f"
_FOUR = 4
_LAST_MARK = 0x1FFFF
_ASCII = re.compile(r"\w+", re.ASCII)


def words(text: str) -> list[str]:
    """The terms of a text, compatibility forms unified and case folded."""
    if text.isascii():
        return _ASCII.findall(text.lower())  # the same terms, in a tenth of the time
    return _cut(text)


def _cut(text: str) -> list[str]:
    unified = unicodedata.normalize("NFKC", text).casefold()
    return [term for run in _runs().finditer(unified) for term in _terms(run)]


@cache
def _runs() -> re.Pattern[str]:
    """Python's \\w leaves out combining marks, and would cut a Hindi word at every vowel sign; not here."""
    marks = "".join(chr(code) for code in range(_LAST_MARK) if unicodedata.category(chr(code))[0] == "M")
    word = f"(?:(?![{_PAIRED}{_FOURS}])[\\w{marks}])+"
    return re.compile(f"(?P<paired>[{_PAIRED}]+)|(?P<fours>[{_FOURS}]+)|{word}")


def _terms(run: re.Match[str]) -> Iterator[str]:
    text = run[0]
    if run.lastgroup == "paired":
        yield from text
        yield from _grams(text, 2)
    elif run.lastgroup == "fours":
        yield from _grams(text, _FOUR) if len(text) > _FOUR else (text,)
    else:
        yield text


def _grams(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(len(text) - length + 1))
