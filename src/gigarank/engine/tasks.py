"""What a worker can be asked: to score, to embed, to answer. Each makes its tokens, takes its hidden states, gives its result.

Knows models and texts; no threads, no queue, no time. Invariant: `result` may be asked at any moment and tells what is there
by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor

from gigarank.engine.answers import Answer, check_ids, log_probabilities
from gigarank.engine.batch import Part
from gigarank.engine.embedder import Embedder, Vectors, check_finite
from gigarank.engine.plan import Piece
from gigarank.engine.request import Encoded, Reads, check_pairs, check_reads, encode
from gigarank.engine.reranker import Reranker
from gigarank.engine.scoring import Scores
from gigarank.engine.tally import outcomes
from gigarank.engine.tokenizer import require_list, require_text, unicode_problem
from gigarank.engine.work import Admit, Prompt, Result, Timing, Turns, Work
from gigarank.errors import DeadlineExceeded, NonFiniteScore
from gigarank.types import Pair, Usage

_CHARACTERS_PER_TOKEN = 4  # of English prose: what is assumed of a text until it is encoded
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Task(Protocol[ResultT_co]):
    """`characters`: of all its texts. `encode` is called once, on any thread; the rest on one thread at a time."""

    @property
    def characters(self) -> int: ...

    def encode(self) -> Encoded:
        """The pieces to compute. Raises GigarankError."""
        ...

    def absorb(self, part: Part, hidden: Tensor) -> None:
        """Takes a computed part, and the hidden states (n, hidden_size) of its n wanted pieces."""
        ...

    def pairs_left(self) -> int:
        """How many documents, texts or prompts wait for their result."""
        ...

    def result(self, timing: Timing, /) -> ResultT_co:
        """What is there by now. Raises GigarankError where that is no result."""
        ...


def estimated_tokens(task: Task[object]) -> int:
    """A guess before the task is encoded."""
    return task.characters // _CHARACTERS_PER_TOKEN


class ScoreTask:
    """Documents of some searches. One that fails or is late has an outcome that says so; the others have their scores."""

    def __init__(self, model: Reranker, work: Work) -> None:
        self._model = model
        self._searches = work.searches
        self._admit = work.admit
        self._reads = Reads(work.windows, work.max_document_tokens, work.max_query_tokens, work.truncate)
        self._pairs = [Pair(search.query, text, search.instruction) for search in work.searches for text in search.documents]
        check_reads(self._reads)
        check_pairs(self._pairs)
        self._numbers = [number for search in work.searches for number in range(len(search.documents))]
        self._encoded = Encoded()
        self._scores = Scores(Encoded(), model.answer)
        self._computed: set[int] = set()
        self.characters = sum(len(pair.document) for pair in self._pairs)
        self.characters += sum(len(search.query) + len(search.instruction or "") for search in work.searches)

    def encode(self) -> Encoded:
        encoded = encode(self._pairs, self._model.tokenizer, self._reads, self._numbers)
        if encoded.readings:
            _ask(self._admit, encoded.usage(len(self._model.tokenizer.suffix_ids)))
        scores = self._model.scores_of(encoded)
        self._encoded, self._scores = encoded, scores  # in this order: `result`, on another thread, reads the scores first
        return encoded

    def absorb(self, part: Part, hidden: Tensor) -> None:
        self._computed.update(part.batch.pieces)
        self._scores.absorb(part.wanted, hidden)

    def pairs_left(self) -> int:
        return self._scores.pairs_left if self._encoded.pieces else len(self._pairs)

    def result(self, timing: Timing, /) -> Result:
        scores = self._scores
        found = outcomes(self._searches, self._encoded, scores)
        usage = self._encoded.usage(len(self._model.tokenizer.suffix_ids), self._computed | scores.recalled)
        return Result(found, usage, timing)


@dataclass(frozen=True, slots=True)
class Embedding:
    """Vectors (n, dimensions) of length 1, in the order of the texts."""

    vectors: Vectors
    usage: Usage
    timing: Timing = field(default_factory=Timing)


class EmbedTask:
    """Vectors of texts. `task` None: they are documents; else queries of that task, and "" is the default task."""

    def __init__(
        self,
        model: Embedder,
        texts: Sequence[str],
        task: str | None,
        dimensions: int | None,
        admit: Admit | None = None,
    ) -> None:
        require_list(texts, "texts")
        for index, text in enumerate(texts):
            require_text(text, f"texts[{index}]")
        self._model = model
        self._texts = texts
        self._task = model.prompt.default_task if task == "" else task
        self._vectors = np.full((len(texts), model.check_dimensions(dimensions)), np.nan, dtype=np.float32)
        self._left = len(texts)
        self._tokens = 0
        self._admit = admit
        self.characters = sum(len(text) for text in texts)

    def encode(self) -> Encoded:
        ids = self._model.encode(self._texts, "texts", self._task)
        self._tokens = sum(len(text) for text in ids)
        _ask(self._admit, self._usage())
        return Encoded([Piece(len(text)) for text in ids], list(ids))

    def absorb(self, part: Part, hidden: Tensor) -> None:
        self._vectors[part.wanted] = self._model.vectors(hidden, self._vectors.shape[1])
        self._left -= len(part.wanted)

    def pairs_left(self) -> int:
        return self._left

    def result(self, timing: Timing, /) -> Embedding:
        _require_whole(self._left)
        check_finite(self._vectors)
        return Embedding(self._vectors, self._usage(), timing)

    def _usage(self) -> Usage:
        texts = len(self._texts)
        return Usage(texts, 0, self._tokens - texts, self._tokens)


class AnswerTask:
    """The answer words' log-probabilities after whole prompts: texts in which special tokens count as such, ids, or
    pieces of both kinds of text."""

    def __init__(self, model: Reranker, prompts: Sequence[Prompt], admit: Admit | None = None) -> None:
        require_list(prompts, "prompts")
        for index, prompt in enumerate(prompts):
            if not isinstance(prompt, str | Turns):
                require_list(prompt, f"prompts[{index}]")
        self._model = model
        self._prompts = prompts
        self._admit = admit
        self._lengths: list[int] = []
        self._found: dict[int, list[float]] = {}
        self.characters = sum(_characters(prompt) for prompt in prompts)

    def encode(self) -> Encoded:
        ids = [self._ids(prompt, f"prompts[{index}]") for index, prompt in enumerate(self._prompts)]
        self._lengths = [len(prompt) for prompt in ids]
        _ask(self._admit, Usage(len(ids), 0, sum(self._lengths), sum(self._lengths)))
        return Encoded([Piece(len(prompt)) for prompt in ids], list(ids))

    def absorb(self, part: Part, hidden: Tensor) -> None:
        tokenizer, weights = self._model.tokenizer, self._model.runner.decoder.weights
        rows = log_probabilities(weights, hidden, (tokenizer.yes_id, tokenizer.no_id))
        self._found.update(zip(part.wanted, rows, strict=True))

    def pairs_left(self) -> int:
        return len(self._prompts) - len(self._found)

    def result(self, timing: Timing, /) -> list[Answer]:
        _require_whole(self.pairs_left())
        words = self._model.prompt.yes, self._model.prompt.no
        rows = [self._found[index] for index in range(len(self._prompts))]
        for index, row in enumerate(rows):
            if not np.isfinite(row).all():
                raise NonFiniteScore(
                    f"prompts[{index}]: the model's answer is {row}; its weights or this precision are broken",
                    param=f"prompts[{index}]",
                )
        return [Answer(*words, yes, no, length, timing) for (yes, no), length in zip(rows, self._lengths, strict=True)]

    def _ids(self, prompt: Prompt, name: str) -> Sequence[int]:
        text = self._model.tokenizer.text
        if isinstance(prompt, str):
            prompt = Turns(((prompt, True),))
        if isinstance(prompt, Turns):
            for piece, _ in prompt.pieces:
                if (problem := unicode_problem(piece, name)) is not None:
                    raise problem
            encoded = (text.template(piece) if template else text.plain([piece], name)[0] for piece, template in prompt.pieces)
            prompt = [token for ids in encoded for token in ids]
        check_ids(prompt, name, self._model.config.vocab_size, self._model.max_pair_tokens)
        return prompt


def _ask(admit: Admit | None, usage: Usage) -> None:
    if admit is not None:
        admit(usage)


def _characters(prompt: Prompt) -> int:
    if isinstance(prompt, Turns):
        return sum(len(piece) for piece, _ in prompt.pieces)
    return len(prompt) if isinstance(prompt, str) else _CHARACTERS_PER_TOKEN * len(prompt)


def _require_whole(left: int) -> None:
    if left:
        raise DeadlineExceeded("deadline_ms: it passed before the model had answered", param="deadline_ms")
