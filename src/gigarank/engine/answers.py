"""The exact probabilities of the two answer words after a whole prompt, over the full vocabulary.

Reads the output head in blocks of rows, so that memory is bounded whatever the vocabulary. Knows no prompts' texts.
Invariant: computed in fp32 or wider and row by row, so that a probability does not depend on what stands beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gigarank.engine.work import Timing
from gigarank.errors import InvalidInput
from gigarank.model.weights import Weights

_BLOCK_ROWS = 8_192  # of the head: 32 MB in fp32 at 1,024 columns


@dataclass(frozen=True, slots=True)
class Answer:
    """For one prompt: the natural logarithms of the exact probabilities, over the whole vocabulary, of the answer words."""

    yes: str
    no: str
    yes_logprob: float
    no_logprob: float
    prompt_tokens: int
    timing: Timing = field(default_factory=Timing, compare=False)  # of all prompts that were asked together


@torch.inference_mode()
def log_probabilities(weights: Weights, hidden: Tensor, words: Sequence[int]) -> list[list[float]]:
    """log_softmax over the vocabulary at `words`, for each row of hidden (n, hidden_size)."""
    wide = torch.promote_types(weights.dtype, torch.float32)
    rows = hidden.to(wide)
    totals: list[list[Tensor]] = [[] for _ in rows]
    for start in range(0, weights.head.shape[0], _BLOCK_ROWS):
        block = weights.head[start : start + _BLOCK_ROWS].to(rows.device, wide)  # (block, hidden_size)
        for row, parts in zip(rows, totals, strict=True):
            parts.append(torch.logsumexp(torch.mv(block, row), 0))
    vectors = weights.head[list(words)].to(rows.device, wide)  # (words, hidden_size)
    return [
        (torch.mv(vectors, row) - torch.logsumexp(torch.stack(parts), 0)).tolist()
        for row, parts in zip(rows, totals, strict=True)
    ]


def check_ids(ids: Sequence[int], name: str, vocabulary: int, longest: int) -> None:
    """Raises InvalidInput for a prompt that is empty, too long, or holds what is no token id of the model."""
    if not 1 <= len(ids) <= longest:
        bound = "must not be empty" if not ids else f"must be at most {longest} tokens"
        raise InvalidInput(f"{name}: {bound}, not {len(ids)}", param=name, limit=longest if ids else 1, received=len(ids))
    for place, token in enumerate(ids):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocabulary:
            raise InvalidInput(
                f"{name}[{place}]: must be a token id from 0 to {vocabulary - 1}, not {token!r}",
                param=f"{name}[{place}]",
                limit=vocabulary - 1,
                received=token,
            )
