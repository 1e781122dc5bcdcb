"""A text as words whose runs can be compared: in every script, without a dictionary. For searching: engine/words.py.

Letters and digits between other characters are a word; scripts that are written without blanks give a word a character, and
so does Thai with its marks. Invariant: two texts that differ in case, width of characters or punctuation have the same words.
"""

import re
import unicodedata

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}][\u0300-\u036f]*|[^\W{_UNSPACED}_]+")


def words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
