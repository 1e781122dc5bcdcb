"""From pairs of texts to pieces of tokens: what is shared is encoded once, and becomes one piece.

Knows the tokenizer and the plan's pieces; runs nothing. Invariant: every pair has at least one wanted piece, and only pairs
with the same instruction, or the same instruction and query, share pieces.
"""

from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gigarank.engine.plan import Piece, ancestors
from gigarank.engine.tokenizer import Part, PromptTokenizer, cut, windows
from gigarank.errors import InvalidInput
from gigarank.types import Pair, Usage, Window, Windows

_PORTION_CHARACTERS = 4_000_000  # encoded at once: enough for all cores, and bounded before documents are cut
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Reading:
    """One wanted piece: which pair it belongs to, and which part of that pair's document it reads."""

    pair: int
    part: Part
    window: Window | None
    truncated: bool


@dataclass(slots=True)
class Encoded:
    """A request in tokens. `ids[i]` belongs to `pieces[i]`; `readings` is keyed by the wanted pieces' indices."""

    pieces: list[Piece] = field(default_factory=list)
    ids: list[Sequence[int]] = field(default_factory=list)
    readings: dict[int, Reading] = field(default_factory=dict)

    def add(self, ids: list[int], parent: int | None, reading: Reading | None = None) -> int:
        """Appends a piece and gives its index."""
        self.pieces.append(Piece(len(ids), parent, wanted=reading is not None))
        self.ids.append(array("I", ids))  # 4 bytes a token: all documents of a request wait here
        index = len(self.pieces) - 1
        if reading is not None:
            self.readings[index] = reading
        return index

    def usage(self, pairs: int, suffix_tokens: int) -> Usage:
        prefix = sum(piece.length for piece in self.pieces if not piece.wanted)
        documents = sum(reading.part.stop - reading.part.start for reading in self.readings.values())
        return Usage(pairs, prefix, documents, prefix + documents + suffix_tokens * len(self.readings))


def encode(pairs: Sequence[Pair], tokenizer: PromptTokenizer, wide: Windows | None) -> Encoded:
    """The pieces of all pairs. Raises QueryTooLong, InvalidInput."""
    encoded = Encoded()
    parents = _shared_pieces(pairs, tokenizer, encoded)
    for some in _portions(pairs):
        documents = tokenizer.documents([pairs[index].document for index in some])
        for index, ids in zip(some, documents, strict=True):
            pair = pairs[index]
            parent = parents[pair.instruction, pair.query]
            room = tokenizer.room(_context_tokens(encoded.pieces, parent))
            for reading in _readings(index, len(ids), room, wide):
                encoded.add([*ids[reading.part.start : reading.part.stop], *tokenizer.suffix_ids], parent, reading)
    return encoded


def _portions(pairs: Sequence[Pair]) -> Iterator[range]:
    """Runs of pairs whose documents have at most `_PORTION_CHARACTERS` together, or a single longer one."""
    start = characters = 0
    for index, pair in enumerate(pairs):
        if index > start and characters + len(pair.document) > _PORTION_CHARACTERS:
            yield range(start, index)
            start, characters = index, 0
        characters += len(pair.document)
    yield range(start, len(pairs))


def _shared_pieces(pairs: Sequence[Pair], tokenizer: PromptTokenizer, encoded: Encoded) -> dict[tuple[str | None, str], int]:
    """Adds a piece for each instruction and each query under it; gives the query pieces' indices."""
    instructions = _distinct(pair.instruction for pair in pairs)
    roots = {
        instruction: encoded.add(ids, None)
        for instruction, ids in zip(instructions, tokenizer.roots(instructions), strict=True)
    }
    asked = _distinct((pair.instruction, pair.query) for pair in pairs)
    queries = tokenizer.queries([query for _, query in asked])
    return {key: encoded.add(ids, roots[key[0]]) for key, ids in zip(asked, queries, strict=True)}


def _distinct(values: Iterable[_Key]) -> list[_Key]:
    return list(dict.fromkeys(values))


def _context_tokens(pieces: Sequence[Piece], parent: int) -> int:
    return pieces[parent].length + sum(pieces[index].length for index in ancestors(pieces, parent))


def _readings(pair: int, length: int, room: int, wide: Windows | None) -> list[Reading]:
    parts = cut(length, room) if wide is None else windows(length, room, wide.overlap_tokens, wide.max_windows)
    truncated = parts[-1].stop < length
    if len(parts) == 1:
        return [Reading(pair, parts[0], None, truncated)]
    return [
        Reading(pair, part, Window(place, len(parts), part.start, part.stop), truncated) for place, part in enumerate(parts)
    ]


def check_windows(wide: Windows | None) -> None:
    """Raises InvalidInput for settings that make no windows."""
    if wide is None:
        return
    if wide.overlap_tokens < 0:
        raise InvalidInput(
            f"windows.overlap_tokens: must be at least 0, not {wide.overlap_tokens}",
            param="windows.overlap_tokens",
            limit=0,
            received=wide.overlap_tokens,
        )
    if wide.max_windows is not None and wide.max_windows < 1:
        raise InvalidInput(
            f"windows.max_windows: must be at least 1, not {wide.max_windows}",
            param="windows.max_windows",
            limit=1,
            received=wide.max_windows,
        )
