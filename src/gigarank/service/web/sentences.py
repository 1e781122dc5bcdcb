"""Which sentences carry a document's score: what the logit loses when one of them is left out.

Knows texts and numbers. Invariant: the sentences of a text, put together, are the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST_SENTENCES = 60
_END = re.compile(r"(?<=[.!?])\s+(?=\S)|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class Part:
    """`carried`: how much less the logit is without it; negative where it does harm. `share`: of the largest, from -1 to 1."""

    text: str
    carried: float
    share: float


def split(text: str) -> list[str]:
    """With the blanks behind each; those beyond the last that are looked at one by one stand together in it."""
    cuts = [match.end() for match in _END.finditer(text)]
    edges = [0, *(cut for cut in cuts if 0 < cut < len(text)), len(text)]
    parts = [text[start:end] for start, end in pairwise(edges) if text[start:end]]
    if len(parts) <= MOST_SENTENCES:
        return parts
    return [*parts[: MOST_SENTENCES - 1], "".join(parts[MOST_SENTENCES - 1 :])]


def variants(parts: Sequence[str]) -> list[str]:
    """The whole text, and it without each part in turn; where nothing is left, a full stop."""
    without = ["".join([*parts[:place], *parts[place + 1 :]]) for place in range(len(parts))]
    return ["".join(parts), *(text if text.strip() else "." for text in without)]


def carried(parts: Sequence[str], logits: Sequence[float]) -> list[Part]:
    """`logits`: of the variants, in their order."""
    losses = [logits[0] - one for one in logits[1:]]
    largest = max((abs(loss) for loss in losses), default=0.0) or 1.0
    return [Part(text, loss, loss / largest) for text, loss in zip(parts, losses, strict=True)]
