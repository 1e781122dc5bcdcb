"""What a batch of the schedule costs in seconds: so much a batch, so much a row, so much for what rows attend to.

Pure arithmetic over the plan's pieces: no clock, no torch. What requests begin with alike, their root, is one set of rows in
a batch, as engine/batch.py lays it out; here roots of one length are taken to be alike, since a run has one instruction.
Invariant: a batch costs at least what any one request in it costs alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gigarank.catalogue import Shape
from gigarank.engine.plan import Batch, Limits, Piece, ancestors, make_plan
from gigarank.engine.schedule import Take


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of the model: `batch_s` a batch, `token_s` a row, `reach_s` for a row and one token that it attends to; and
    outside the model `request_s` a request, `document_s` a document. A batch may be paused between its `layers`.

    `speeds[k - 1]`: how fast each of k replicas that compute at once on one machine is; the last counts for more of them. One
    number alone: each replica has a machine of its own.
    """

    layers: int
    batch_s: float
    token_s: float
    reach_s: float = 0.0
    request_s: float = 0.0
    document_s: float = 0.0
    speeds: tuple[float, ...] = (1.0,)

    def seconds(self, size: "Size") -> float:
        return self.batch_s + self.token_s * size.rows + self.reach_s * size.reach

    def outside(self, documents: int) -> float:
        """What HTTP, JSON and making tokens add to a request."""
        return self.request_s + self.document_s * documents

    def model_s(self, pieces: Sequence[Piece], limits: Limits) -> float:
        """A request's seconds in the model where nothing else runs; beside others it takes no less."""
        return sum(self.seconds(size_of(((batch, pieces),))) for batch in make_plan(pieces, limits))

    def unshared_s(self, pieces: Sequence[Piece]) -> float:
        """A request's seconds that no company makes fewer: without its batches' own and without the root."""
        root = sum(piece.length for piece in pieces if piece.parent is None and not piece.wanted)
        whole = size_of(((Batch(tuple(range(len(pieces))), frozenset(), frozenset()), pieces),))
        return self.token_s * (whole.rows - root) + self.reach_s * (whole.reach - root * (root + 1) // 2)


@dataclass(frozen=True, slots=True)
class Size:
    """`rows`: computed tokens. `reach`: the tokens that all rows attend to, summed."""

    rows: int
    reach: int


def size_of(parts: Sequence[tuple[Batch, Sequence[Piece]]]) -> Size:
    """Of one batch: what each request puts in, with its pieces."""
    rows = reach = 0
    roots: set[int] = set()
    for batch, pieces in parts:
        for index in batch.pieces:
            piece = pieces[index]
            if piece.parent is None and not piece.wanted:
                if piece.length in roots:
                    continue
                roots.add(piece.length)
            before = sum(pieces[parent].length for parent in ancestors(pieces, index))
            rows += piece.length
            reach += piece.length * before + piece.length * (piece.length + 1) // 2
    return Size(rows, reach)


def size_of_takes(takes: Sequence[Take], pieces: Mapping[int, Sequence[Piece]]) -> Size:
    """Of a turn of the schedule; `pieces` by the requests' numbers."""
    return size_of([(take.batch, pieces[take.number]) for take in takes])


def layer_weights(shape: Shape) -> int:
    """What a token is multiplied with: the layers' matrices. Of the head only two rows are read, of the embedding one."""
    heads, keys = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    attention = 2 * shape.hidden_size * (heads + keys)
    return shape.num_hidden_layers * (attention + 3 * shape.hidden_size * shape.intermediate_size)


def row_operations(shape: Shape) -> float:
    """Multiplications and additions of a token in the matrices."""
    return 2.0 * layer_weights(shape)


def reach_operations(shape: Shape) -> float:
    """Of a token and one that it attends to: a product with its key and one with its value."""
    return 4.0 * shape.num_hidden_layers * shape.num_attention_heads * shape.head_dim
