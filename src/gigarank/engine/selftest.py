"""Whether a loaded reranker computes what it should: checks that tell a broken checkpoint from a sound one.

Returns typed results and prints nothing. Knows the golden values of the official 0.6B weights, and nothing of any other.
Invariant: a check that cannot be made, for want of scores, has failed; one that has nothing to compare with says so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gigarank import catalogue
from gigarank.catalogue import RERANKER_0_6B
from gigarank.engine.reranker import Reranker
from gigarank.errors import GigarankError


@dataclass(frozen=True, slots=True)
class Golden:
    """What is known of one model's official weights. `logits` are raw and in fp32, one a document, for its default
    instruction; `suffix_ids`, `prefix_tokens` and `answer_ids` (yes, no) are those of its tokenizer."""

    model: catalogue.Model
    query: str
    documents: tuple[str, ...]
    logits: tuple[float, ...]
    prefix_tokens: int
    suffix_ids: tuple[int, ...]
    answer_ids: tuple[int, int]
    tolerance: float = 1e-4


QWEN3_0_6B = Golden(
    model=RERANKER_0_6B,
    query="Which planet is known as the Red Planet?",
    documents=(
        "Venus is often called Earth's twin because of its similar size and proximity.",
        "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
        "Jupiter, the largest planet in our solar system, has a prominent red spot.",
        "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
    ),
    logits=(-3.109297752380371, 7.120389938354492, -0.3787546157836914, 3.541637420654297),
    prefix_tokens=39,
    suffix_ids=(151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271),
    answer_ids=(9693, 2152),
)

_NEAR = (
    0.5  # four raw logits this close to the golden ones are no accident: these are the official weights, whatever their name
)
_COLLAPSED = 0.01
"""Four raw logits in 8 bits that lie nearer to one another say nothing: a sound model's lie apart by twenty times as much."""
_OTHER_PAIR = ("an unrelated question", "a text of another length that stands beside the others " * 8)


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Where `applies` is False there was nothing to compare with; `detail` says why, and it did not fail."""

    name: str
    passed: bool
    detail: str
    applies: bool = True


@dataclass(frozen=True, slots=True)
class SelfTest:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def run(reranker: Reranker, golden: Golden = QWEN3_0_6B) -> SelfTest:
    """All checks on the four canned documents. Raises nothing that the checkpoint causes: that is a failed check."""
    reranker = reranker.without_kept_scores()  # what is kept would say nothing of what is computed now
    pairs = [(golden.query, document) for document in golden.documents]
    logits, problem = _scored(reranker, pairs)
    return SelfTest(
        (
            _prompt_ids(reranker, golden),
            _answer_words(reranker),
            _head(reranker),
            _scores(logits, problem),
            *_quantised(reranker, logits),
            _independence(reranker, pairs, logits),
            _golden_scores(reranker, logits, golden),
        )
    )


def _prompt_ids(reranker: Reranker, golden: Golden) -> Check:
    tokenizer = reranker.tokenizer
    found = (len(tokenizer.prefix_ids), tuple(tokenizer.suffix_ids), (tokenizer.yes_id, tokenizer.no_id))
    shown = f"prefix {found[0]} tokens, suffix {list(found[1])}, answers {list(found[2])}"
    if reranker.config.vocab_size != golden.model.shape.vocab_size or reranker.prompt.id != golden.model.prompt:
        return Check("prompt ids", True, f"no golden ids for this tokenizer and prompt; {shown}", applies=False)
    expected = (golden.prefix_tokens, golden.suffix_ids, golden.answer_ids)
    if found == expected:
        return Check("prompt ids", True, f"as the model card's: {shown}")
    wanted = f"prefix {expected[0]} tokens, suffix {list(expected[1])}, answers {list(expected[2])}"
    return Check("prompt ids", False, f"{shown}; the model card's are {wanted}")


def _answer_words(reranker: Reranker) -> Check:
    """One token each, two different ones, inside the vocabulary. A tokenizer with an unknown-word token makes both the same."""
    tokenizer, prompt = reranker.tokenizer, reranker.prompt
    try:
        ids = [tokenizer.text.single(word) for word in (prompt.yes, prompt.no)]
    except GigarankError as error:
        return Check("answer words", False, str(error))
    shown = f"{prompt.yes!r} is {ids[0]}, {prompt.no!r} is {ids[1]}"
    if ids[0] == ids[1]:
        return Check("answer words", False, f"{shown}: the tokenizer does not know them apart")
    if max(ids) >= reranker.config.vocab_size:
        return Check("answer words", False, f"{shown}: beyond the {reranker.config.vocab_size} rows of the head")
    return Check("answer words", True, shown)


def _head(reranker: Reranker) -> Check:
    answer = reranker.answer  # (hidden_size,)
    norm = float(torch.linalg.vector_norm(answer))
    if not math.isfinite(norm):
        return Check("head", False, "the rows of the answer words hold NaN or infinity")
    if norm == 0.0:
        return Check("head", False, "the rows of the answer words are equal: every score would be 0")
    return Check("head", True, f"|w_yes - w_no| = {norm:.4g}")


def _scored(reranker: Reranker, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], str]:
    """The logits, or none and what went wrong."""
    try:
        return [score.logit for score in reranker.score(pairs)], ""
    except GigarankError as error:
        return [], str(error)


def _scores(logits: Sequence[float], problem: str) -> Check:
    if problem:
        return Check("scores", False, problem)
    shown = ", ".join(f"{logit:.4f}" for logit in logits)
    if len(set(logits)) < len(logits):
        return Check("scores", False, f"different documents have the same score: {shown}")
    return Check("scores", True, f"finite and different: {shown}")


def _quantised(reranker: Reranker, logits: Sequence[float]) -> list[Check]:
    """Whether 8 bits left the scores apart: a broken quantisation gives finite scores that hardly differ."""
    if reranker.numerics.dtype != "int8":
        return []
    if not logits:
        return [Check("quantisation", False, "there are no scores to look at")]
    spread = max(logits) - min(logits)
    shown = f"in int8 the four scores span {spread:.3g}, at least {_COLLAPSED:g} are expected"
    return [Check("quantisation", spread >= _COLLAPSED, shown)]


def _independence(reranker: Reranker, pairs: list[tuple[str, str]], together: Sequence[float]) -> Check:
    """The same pairs alone, reversed, and beside another query's: the same logits."""
    if not together:
        return Check("batch independence", False, "there are no scores to compare")
    surroundings = {
        "alone": [_scored(reranker, [pair])[0] for pair in pairs],
        "reversed": [_scored(reranker, pairs[::-1])[0][::-1]],
        "beside another query": [_scored(reranker, [_OTHER_PAIR, *pairs])[0][1:]],
    }
    allowed = 0.0 if reranker.numerics.deterministic else reranker.numerics.tolerance
    worst = {
        name: _largest_difference([logit for part in parts for logit in part], together) for name, parts in surroundings.items()
    }
    shown = ", ".join(f"{name} {difference:.2g}" for name, difference in worst.items())
    promise = "bitwise" if reranker.numerics.deterministic else f"within {allowed}"
    if max(worst.values()) > allowed:
        return Check("batch independence", False, f"promised {promise}, but logits differ: {shown}")
    return Check("batch independence", True, f"{promise}: alone, reversed, beside another query")


def _golden_scores(reranker: Reranker, logits: Sequence[float], golden: Golden) -> Check:
    """Compared where the model is the official one by name, or by its scores whatever its name."""
    name = golden.model.repository
    if not logits:
        return Check("golden scores", False, "there are no scores to compare")
    if _shape_differs(reranker, golden.model) or reranker.prompt.id != golden.model.prompt:
        return Check("golden scores", True, f"only for {name} with the prompt {golden.model.prompt}", applies=False)
    named = reranker.name.lower() in (golden.model.name, golden.model.repository.lower())
    difference = _largest_difference(logits, golden.logits)
    if not named and not difference <= _NEAR:
        return Check("golden scores", True, f"these are not the weights of {name}", applies=False)
    allowed = max(golden.tolerance, reranker.numerics.tolerance)
    shown = f"at most {difference:.3g} from {name} in fp32, allowed {allowed:g} in {reranker.numerics.dtype}"
    if difference <= allowed:
        return Check("golden scores", True, shown)
    return Check("golden scores", False, f"{shown}: other weights under this name, or a broken copy")


def _shape_differs(reranker: Reranker, model: catalogue.Model) -> bool:
    kept = catalogue.Shape.__dataclass_fields__.keys() - {"max_position_embeddings"}
    return any(getattr(reranker.config, field) != getattr(model.shape, field) for field in kept)


def _largest_difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """Infinity where a score is missing."""
    if len(found) != len(expected):
        return math.inf
    return max(abs(one - other) for one, other in zip(found, expected, strict=True))
