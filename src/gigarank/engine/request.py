"""From pairs of texts to pieces of tokens: what is shared is encoded once, and becomes one piece.

Knows the tokenizer and the plan's pieces; runs nothing. Invariant: every pair has at least one wanted piece or a failure, and
only pairs with the same instruction, or the same instruction and query, share pieces.
"""

from array import array
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gigarank.engine.plan import Piece
from gigarank.engine.tokenizer import (
    Part,
    PromptTokenizer,
    cut,
    require_kind,
    require_text,
    require_unicode,
    require_whole,
    unicode_problem,
    windows,
)
from gigarank.errors import GigarankError, InvalidInput, QueryTooLong
from gigarank.types import Pair, Usage, Window, Windows

_PORTION_CHARACTERS = 500_000  # encoded at once: enough for all cores, and over soon for whoever waits for these cores
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Reading:
    """One wanted piece: which pair it belongs to, and which part of that pair's document it reads."""

    pair: int
    part: Part
    window: Window | None
    truncated: bool


@dataclass(frozen=True, slots=True)
class Reads:
    """How much of the texts is read, in tokens; longer ones are cut at their end. None is no limit but the model's own.

    `truncate` False: a document that does not fit is a failure, and a query that does not raises QueryTooLong.
    """

    windows: Windows | None = None
    max_document_tokens: int | None = None
    max_query_tokens: int | None = None
    truncate: bool = True


@dataclass(slots=True)
class Encoded:
    """A request in tokens. `ids[i]` belongs to `pieces[i]`; `readings` is keyed by the indices of the pieces that give a
    score, which are wanted until they are left out, `failures` by the pairs that cannot be read. `copies`: the pairs equal to
    an earlier one, by that one; they have no pieces."""

    pieces: list[Piece] = field(default_factory=list)
    ids: list[Sequence[int]] = field(default_factory=list)
    readings: dict[int, Reading] = field(default_factory=dict)
    failures: dict[int, GigarankError] = field(default_factory=dict)
    copies: dict[int, list[int]] = field(default_factory=dict)

    def add(self, ids: list[int], parent: int | None, reading: Reading | None = None) -> int:
        """Appends a piece and gives its index."""
        self.pieces.append(Piece(len(ids), parent, wanted=reading is not None))
        self.ids.append(array("I", ids))  # 4 bytes a token: all documents of a request wait here
        index = len(self.pieces) - 1
        if reading is not None:
            self.readings[index] = reading
        return index

    def leave_out(self, known: Iterable[int]) -> None:
        """These pieces are not wanted any more: what they would give is known."""
        for index in known:
            self.pieces[index] = replace(self.pieces[index], wanted=False)

    def usage(self, suffix_tokens: int, computed: Collection[int] | None = None) -> Usage:
        """The cost of the `computed` pieces, each once; None is all of them."""
        done = range(len(self.pieces)) if computed is None else computed
        readings = [self.readings[index] for index in done if index in self.readings]
        prefix = sum(self.pieces[index].length for index in done if index not in self.readings)
        documents = sum(reading.part.stop - reading.part.start for reading in readings)
        pairs = sum(1 + len(self.copies.get(pair, ())) for pair in {reading.pair for reading in readings})
        return Usage(pairs, prefix, documents, prefix + documents + suffix_tokens * len(readings))


@dataclass(frozen=True, slots=True)
class _Question:
    """A shared query: the index of its piece, the tokens left for a document behind it, and whether its own end was cut."""

    piece: int
    room: int
    cut: bool


def encode(pairs: Sequence[Pair], tokenizer: PromptTokenizer, reads: Reads, numbers: Sequence[int] | None = None) -> Encoded:
    """The pieces of all pairs. Errors call pair i documents[numbers[i]]; None numbers them in order.

    Raises QueryTooLong, InvalidInput; what is wrong with one document only is in `failures`.
    """
    encoded = Encoded()
    names = [f"documents[{number}]" for number in (range(len(pairs)) if numbers is None else numbers)]
    questions = _shared_pieces(pairs, tokenizer, reads, encoded)
    first: dict[tuple[int, str], int] = {}  # by the query's piece and the document: equal pairs are computed once
    for some in _portions(pairs):
        readable = [index for index in some if _is_unicode(index, pairs[index].document, names[index], encoded)]
        documents = tokenizer.documents([pairs[index].document for index in readable])
        for index, ids in zip(readable, documents, strict=True):
            question = questions[pairs[index].instruction, pairs[index].query]
            readings = _readings(index, len(ids), question, reads)
            if not reads.truncate and readings[-1].part.stop < len(ids):
                encoded.failures[index] = _too_long(names[index], readings[-1].part.stop, len(ids))
                continue
            if (before := first.setdefault((question.piece, pairs[index].document), index)) != index:
                encoded.copies.setdefault(before, []).append(index)
                continue
            for reading in readings:
                encoded.add([*ids[reading.part.start : reading.part.stop], *tokenizer.suffix_ids], question.piece, reading)
    return encoded


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Raises InvalidInput for what is no text, and for a query without any. A document's Unicode is `encode`'s matter."""
    for index, pair in enumerate(pairs):
        require_text(pair.query, "query")
        if pair.instruction is not None:
            require_text(pair.instruction, "instruction")
        require_text(pair.document, f"documents[{index}]")
    for query, instruction in _distinct((pair.query, pair.instruction) for pair in pairs):
        require_unicode(query, "query")
        require_unicode(instruction or "", "instruction")
        if not query.strip():
            raise InvalidInput("query: must not be empty", param="query", limit=1, received=0)


def _is_unicode(index: int, document: str, name: str, encoded: Encoded) -> bool:
    if (problem := unicode_problem(document, name)) is not None:
        encoded.failures[index] = problem
    return problem is None


def _too_long(name: str, limit: int, length: int) -> InvalidInput:
    return InvalidInput(
        f"{name}: {length} tokens, of which {limit} can be read, and truncation is off",
        param=name,
        limit=limit,
        received=length,
    )


def _portions(pairs: Sequence[Pair]) -> Iterator[range]:
    """Runs of pairs whose documents have at most `_PORTION_CHARACTERS` together, or a single longer one."""
    start = characters = 0
    for index, pair in enumerate(pairs):
        if index > start and characters + len(pair.document) > _PORTION_CHARACTERS:
            yield range(start, index)
            start, characters = index, 0
        characters += len(pair.document)
    yield range(start, len(pairs))


def _shared_pieces(
    pairs: Sequence[Pair], tokenizer: PromptTokenizer, reads: Reads, encoded: Encoded
) -> dict[tuple[str | None, str], _Question]:
    """Adds a piece for each instruction and each query under it."""
    instructions = _distinct(pair.instruction for pair in pairs)
    roots = {
        instruction: encoded.add(ids, None)
        for instruction, ids in zip(instructions, tokenizer.roots(instructions), strict=True)
    }
    asked = _distinct((pair.instruction, pair.query) for pair in pairs)
    shorter = _cut_queries([query for _, query in asked], tokenizer, reads)
    questions = {}
    for key, ids, short in zip(asked, tokenizer.queries([query for _, query in asked]), shorter, strict=True):
        piece = encoded.add(ids if short is None else short, roots[key[0]])
        room = tokenizer.room(encoded.pieces[roots[key[0]]].length + encoded.pieces[piece].length)
        questions[key] = _Question(piece, room, short is not None)
    return questions


def _cut_queries(queries: Sequence[str], tokenizer: PromptTokenizer, reads: Reads) -> Sequence[list[int] | None]:
    """The queries that are longer than allowed, cut; None for the others."""
    if reads.max_query_tokens is None:
        return [None] * len(queries)
    shorter = tokenizer.cut_queries(queries, reads.max_query_tokens)
    if not reads.truncate and any(ids is not None for ids in shorter):
        raise QueryTooLong(
            f"query: longer than {reads.max_query_tokens} tokens, and truncation is off",
            param="query",
            limit=reads.max_query_tokens,
        )
    return shorter


def _distinct(values: Iterable[_Key]) -> list[_Key]:
    return list(dict.fromkeys(values))


def _readings(pair: int, length: int, question: _Question, reads: Reads) -> list[Reading]:
    wide = reads.windows
    read = length if reads.max_document_tokens is None else min(length, reads.max_document_tokens)
    parts = cut(read, question.room) if wide is None else windows(read, question.room, wide.overlap_tokens, wide.max_windows)
    truncated = question.cut or parts[-1].stop < length
    if len(parts) == 1:
        return [Reading(pair, parts[0], None, truncated)]
    return [
        Reading(pair, part, Window(place, len(parts), part.start, part.stop), truncated) for place, part in enumerate(parts)
    ]


def check_reads(reads: Reads) -> None:
    """Raises InvalidInput for limits that leave nothing to read, and for windows that are none."""
    wide = Windows() if reads.windows is None else reads.windows
    require_kind(wide, Windows, "Windows", "windows")
    require_whole(wide.overlap_tokens, "windows.overlap_tokens")
    for name, value, least in (
        ("windows.overlap_tokens", wide.overlap_tokens, 0),
        ("windows.max_windows", wide.max_windows, 1),
        ("max_document_tokens", reads.max_document_tokens, 1),
        ("max_query_tokens", reads.max_query_tokens, 1),
    ):
        if value is None:
            continue
        require_whole(value, name)
        if value < least:
            raise InvalidInput(f"{name}: must be at least {least}, not {value}", param=name, limit=least, received=value)
