"""A part of a request that travels: pieces of tokens with what they share, once, and the logits that come back.

Knows tokens; no texts, and not where it is computed. Invariant: whoever computes a portion gives what the whole request would
have given for its wanted pieces, in the portion's order.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from gigarank.engine.batch import Part
from gigarank.engine.plan import Piece, ancestors
from gigarank.engine.request import Encoded
from gigarank.engine.reranker import Reranker
from gigarank.engine.scoring import answer_logits
from gigarank.engine.work import Timing
from gigarank.errors import InvalidInput, WorkerFailed

_CHARACTERS_PER_TOKEN = 4  # as tasks assumes of a text


@dataclass(frozen=True, slots=True)
class Portion:
    """`ids[i]`: the tokens of piece i. `parents[i]`: the piece it follows, an earlier one, or None. `wanted`: the pieces whose
    logits are asked for."""

    ids: tuple[Sequence[int], ...]
    parents: tuple[int | None, ...]
    wanted: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return sum(map(len, self.ids))


def portion(encoded: Encoded, wanted: Sequence[int]) -> Portion:
    """These pieces of a request, each with all that it follows; what several follow is there once."""
    places = {piece: place for place, piece in enumerate(_with_ancestors(encoded, wanted))}
    parents = (encoded.pieces[piece].parent for piece in places)
    return Portion(
        tuple(array("I", encoded.ids[piece]) for piece in places),
        tuple(None if parent is None else places[parent] for parent in parents),
        tuple(places[piece] for piece in wanted),
    )


def _with_ancestors(encoded: Encoded, wanted: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(part for piece in wanted for part in (*ancestors(encoded.pieces, piece), piece)))


class PortionTask:
    """A worker's task: the logits of a portion, all or nothing. A logit may be no number; its caller decides what then."""

    def __init__(self, model: Reranker, asked: Portion) -> None:
        _check(asked, model)
        self._model = model
        self._asked = asked
        self._found: dict[int, float] = {}
        self.characters = _CHARACTERS_PER_TOKEN * asked.tokens

    def encode(self) -> Encoded:
        wanted = set(self._asked.wanted)
        lengths = zip(self._asked.ids, self._asked.parents, strict=True)
        pieces = [Piece(len(ids), parent, place in wanted) for place, (ids, parent) in enumerate(lengths)]
        return Encoded(pieces, list(self._asked.ids))

    def absorb(self, part: Part, hidden: Tensor) -> None:
        self._found.update(zip(part.wanted, answer_logits(hidden, self._model.answer), strict=True))

    def pairs_left(self) -> int:
        return len(self._asked.wanted) - len(self._found)

    def result(self, _timing: Timing, /) -> list[float]:
        if self.pairs_left():
            raise WorkerFailed("the portion was not computed to its end")
        return [self._found[piece] for piece in self._asked.wanted]


def _check(asked: Portion, model: Reranker) -> None:
    """Raises InvalidInput for pieces that are none of this model's."""
    vocabulary, longest = model.config.vocab_size, model.max_pair_tokens
    ends: list[int] = []
    for place, (ids, parent) in enumerate(zip(asked.ids, asked.parents, strict=True)):
        if parent is not None and not 0 <= parent < place:
            raise _refused(f"[{place}].parent", place, parent)
        if not ids or min(ids) < 0 or max(ids) >= vocabulary:
            raise _refused(f"[{place}].ids", vocabulary, max(ids, default=None))
        ends.append(len(ids) + (0 if parent is None else ends[parent]))
        if ends[-1] > longest:
            raise _refused(f"[{place}]", longest, ends[-1])
    parents = set(asked.parents)
    leaves = [place for place in range(len(asked.ids)) if place not in parents]
    if sorted(asked.wanted) != leaves:
        raise _refused(".wanted", len(leaves), len(asked.wanted))


def _refused(what: str, limit: int, received: int | None) -> InvalidInput:
    return InvalidInput(
        f"portion{what}: at most {limit} is possible here; received {received}", param="portion", limit=limit, received=received
    )
