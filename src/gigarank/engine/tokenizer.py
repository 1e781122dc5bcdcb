"""From text to token ids: the prompt's parts, and the one truncation rule.

Knows the checkpoint's tokenizer.json and a prompt format; no model. What the user wrote is encoded as plain text: it cannot
become a special token. Invariants: the parts' ids, put together, are the ids of the whole text encoded at once; only a
document's end is ever cut.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

from tokenizers import Tokenizer

from gigarank.errors import CheckpointError, InvalidInput, QueryTooLong
from gigarank.prompt import PromptFormat


@dataclass(frozen=True, slots=True)
class Part:
    """The tokens [start, stop) of a document that one prompt reads."""

    start: int
    stop: int


class TextTokenizer:
    """A checkpoint's tokenizer, twice: once with its special tokens, for templates, and once without, for user text."""

    def __init__(self, tokenizer_json: str) -> None:
        try:
            raw = json.loads(tokenizer_json)
            self._template = Tokenizer.from_str(tokenizer_json)
            self._plain = Tokenizer.from_str(json.dumps(raw | {"added_tokens": [], "post_processor": None}))
        except Exception as error:  # the library raises bare Exception for whatever is wrong with a file
            raise CheckpointError(f"tokenizer.json: cannot be read: {error}", param="model") from error
        for tokenizer in (self._template, self._plain):
            tokenizer.no_truncation()
            tokenizer.no_padding()

    @classmethod
    def from_folder(cls, folder: Path) -> "TextTokenizer":
        path = folder / "tokenizer.json"
        if not path.exists():
            raise CheckpointError(f"{folder}: no tokenizer.json", param="model", received=str(folder))
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path}: cannot be read: {error}", param="model") from error

    def template(self, text: str) -> list[int]:
        """Ids of a template's text, special tokens included."""
        ids: list[int] = self._template.encode(text, add_special_tokens=False).ids
        return ids

    def plain(self, texts: Sequence[str], param: str) -> list[list[int]]:
        """Ids of user texts, on all cores. Raises InvalidInput that names `param` and the index of a text that is not
        Unicode (lone surrogates)."""
        try:
            return [encoding.ids for encoding in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]
        except (TypeError, UnicodeEncodeError):
            raise _not_unicode(texts, param) from None

    def single(self, word: str) -> int:
        """The id of a word that is one token. Raises CheckpointError where it is none or several."""
        ids = self.template(word)
        if len(ids) != 1:
            raise CheckpointError(
                f"tokenizer.json: {word!r} is {len(ids)} tokens, but the prompt format needs it to be one",
                param="prompt",
                limit=1,
                received=len(ids),
            )
        return ids[0]


def require_text(value: object, param: str) -> None:
    """Raises InvalidInput where a caller without a type checker passed something else than a string."""
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InvalidInput(f"{param}: must be a string, not {kind}", param=param, limit="str", received=kind)


def require_list(value: object, param: str) -> None:
    """Raises InvalidInput for a lone string, whose characters would pass as many short texts, and for what has no length."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        kind = type(value).__name__
        raise InvalidInput(f"{param}: must be a list, not {kind}", param=param, limit="list", received=kind)


def require_kind(value: object, kind: type | tuple[type, ...], shown: str, param: str) -> None:
    """Raises InvalidInput where a caller without a type checker passed another kind of value."""
    if not isinstance(value, kind):
        name = type(value).__name__
        raise InvalidInput(f"{param}: must be {shown}, not {name}", param=param, limit=shown, received=name)


def require_whole(value: object, param: str) -> None:
    """Raises InvalidInput for what cannot count: text, fractions, True."""
    if isinstance(value, bool) or not isinstance(value, Integral):  # numpy's integers count, too
        kind = type(value).__name__
        raise InvalidInput(f"{param}: must be a whole number, not {kind}", param=param, limit="int", received=kind)


def require_unicode(text: str, param: str) -> None:
    """Raises InvalidInput for a lone surrogate."""
    if (problem := unicode_problem(text, param)) is not None:
        raise problem


def _not_unicode(texts: Sequence[str], param: str) -> InvalidInput:
    problems = (unicode_problem(text, f"{param}[{index}]") for index, text in enumerate(texts))
    return next(
        (problem for problem in problems if problem is not None), InvalidInput(f"{param}: could not be encoded", param=param)
    )


def unicode_problem(text: str, param: str) -> InvalidInput | None:
    """What is wrong with a text that is not Unicode: a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return InvalidInput(
            f"{param}: not valid Unicode, a lone surrogate at character {error.start}",
            param=param,
            received=ascii(text[error.start]),
        )
    return None


class PromptTokenizer:
    """A prompt format in a checkpoint's ids. All lengths in tokens."""

    def __init__(self, text: TextTokenizer, prompt: PromptFormat, max_pair_tokens: int) -> None:
        self.text = text
        self.prompt = prompt
        self.max_pair_tokens = max_pair_tokens
        self.prefix_ids = text.template(prompt.prefix)
        self.suffix_ids = text.template(prompt.suffix)
        self.yes_id = text.single(prompt.yes)
        self.no_id = text.single(prompt.no)

    def roots(self, instructions: Sequence[str | None]) -> list[list[int]]:
        """The part of each instruction: prefix, instruction and the label of the query."""
        bodies = self.text.plain([self.prompt.root(instruction) for instruction in instructions], "instruction")
        return [self.prefix_ids + body for body in bodies]

    def queries(self, queries: Sequence[str]) -> list[list[int]]:
        return self.text.plain([self.prompt.query(query) for query in queries], "query")

    def cut_queries(self, queries: Sequence[str], most: int) -> list[list[int] | None]:
        """The part of each query cut to its first `most` tokens; None for a query that has no more than those."""
        bodies = self.text.plain([f" {query}" for query in queries], "query")
        (label,) = self.text.plain([self.prompt.query("").removeprefix(" ")], "query")
        return [body[:most] + label if len(body) > most else None for body in bodies]

    def documents(self, documents: Sequence[str]) -> list[list[int]]:
        """Ids of whole documents, neither cut nor closed."""
        return self.text.plain([self.prompt.document(document) for document in documents], "documents")

    def room(self, context_tokens: int) -> int:
        """How many tokens of a document fit behind its context and before the suffix.

        Raises QueryTooLong where there is none.
        """
        room = self.max_pair_tokens - context_tokens - len(self.suffix_ids)
        if room < 1:
            raise QueryTooLong(
                f"query: instruction, query and template take {context_tokens + len(self.suffix_ids)} tokens, "
                f"which leaves no room for a document within the limit of {self.max_pair_tokens} tokens a pair",
                param="query",
                limit=self.max_pair_tokens,
                received=context_tokens + len(self.suffix_ids),
            )
        return room


def cut(length: int, room: int) -> list[Part]:
    """The truncation rule: a document's first `room` tokens."""
    return [Part(0, min(length, room))]


def windows(length: int, room: int, overlap: int, most: int | None) -> list[Part]:
    """Windows of `room` tokens over a document of `length`, neighbours sharing `overlap`; at most `most` of them, from the
    start. Raises InvalidInput for an overlap of more than half a window: so that all read at most twice the document."""
    if length <= room:
        return [Part(0, length)]
    if overlap > room // 2:
        raise InvalidInput(
            f"windows.overlap_tokens: {overlap} must be at most half a window, which holds {room} tokens of the document here",
            param="windows.overlap_tokens",
            limit=room // 2,
            received=overlap,
        )
    parts = [Part(0, min(length, room))]
    while parts[-1].stop < length and (most is None or len(parts) < most):
        start = parts[-1].start + room - overlap
        parts.append(Part(start, min(length, start + room)))
    return parts
