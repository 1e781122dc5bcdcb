"""Losses of one query's documents: what the model said, what is known, and how far apart they are.

Knows tensors of one query; no model and no batch. Every loss takes `Judged` and returns a scalar in fp32, the mean over the
documents or pairs that it compares, and a zero that has a gradient where there is nothing to compare. Invariant: as the
library does where sentence-transformers 6.2 has the same loss (tests/parity/test_train_losses.py).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Judged:
    """One query's n documents. `answers` (n, 2): the logits of no and yes; `log_sum` (n,): log-sum-exp over the vocabulary,
    for sft only. `labels` (n,) from 0 to 1, `taught` (n,) a teacher's scores, NaN where it gave none."""

    answers: Tensor
    labels: Tensor
    taught: Tensor
    log_sum: Tensor | None = None
    temperature: float = 1.0
    margin: float | None = None

    @property
    def scores(self) -> Tensor:
        """logit(yes) - logit(no), (n,)."""
        return self.answers[:, 1] - self.answers[:, 0]


def sft(judged: Judged) -> Tensor:
    """-log p(yes) or -log p(no) over the whole vocabulary, as the published models' supervised stage has it; a label between
    0 and 1 weighs both."""
    assert judged.log_sum is not None
    logs = judged.answers - judged.log_sum[:, None]
    return -(judged.labels * logs[:, 1] + (1 - judged.labels) * logs[:, 0]).mean()


def bce(judged: Judged) -> Tensor:
    """Binary cross-entropy of P(yes) against P(no) alone."""
    return F.binary_cross_entropy_with_logits(judged.scores, judged.labels)


def infonce(judged: Judged) -> Tensor:
    """The mean over positives of -log softmax(positive; that positive and all negatives).

    A negative whose teacher's score is above the lowest positive's by more than `margin` is most likely a positive that
    nobody marked, and is left out.
    """
    scores, positive = judged.scores / judged.temperature, judged.labels > 0
    negative = ~positive & ~_false_negatives(judged, positive)
    if not positive.any() or not negative.any():
        return judged.scores.sum() * 0.0
    others = torch.logsumexp(scores[negative], 0)
    return F.softplus(others - scores[positive]).mean()


def _false_negatives(judged: Judged, positive: Tensor) -> Tensor:
    if judged.margin is None:
        return torch.zeros_like(positive)
    known = judged.taught[positive]
    known = known[~known.isnan()]
    if not len(known):
        return torch.zeros_like(positive)
    return judged.taught > known.min() + judged.margin  # False where there is no score


def listnet(judged: Judged) -> Tensor:
    """Cross-entropy between softmax(labels) and softmax(scores): ListNet, top one."""
    return -(F.softmax(judged.labels, 0) * F.log_softmax(judged.scores / judged.temperature, 0)).sum()


def ranknet(judged: Judged) -> Tensor:
    """Over the pairs with different labels, in bits: -log2 of the probability that the right one stands first."""
    return _pairwise(judged, weigh=False)


def lambda_loss(judged: Judged) -> Tensor:
    """LambdaLoss with NDCG-Loss2++'s weights (arXiv 1811.04811, equation 20): ranknet's pairs, each weighted by what
    exchanging the two would change in NDCG."""
    return _pairwise(judged, weigh=True)


def _pairwise(judged: Judged, *, weigh: bool) -> Tensor:
    order = judged.scores.argsort(descending=True, stable=True)
    scores, labels = judged.scores[order], judged.labels[order]
    better = labels[:, None] > labels[None, :]
    if not better.any():
        return judged.scores.sum() * 0.0
    bits = -F.logsigmoid(scores[:, None] - scores[None, :]) / math.log(2)
    return (bits * _ndcg_weights(labels) if weigh else bits)[better].mean()


def _ndcg_weights(labels: Tensor, mu: float = 10.0) -> Tensor:
    """(n, n) for documents in the model's order."""
    positions = torch.arange(1, len(labels) + 1, device=labels.device)
    discounts = torch.log2(positions + 1.0)
    ideal = ((2 ** labels.sort(descending=True).values - 1) / discounts).sum()
    gains = (2**labels - 1) / ideal
    apart = (positions[:, None] - positions[None, :]).abs()
    step = (1 / torch.log2(apart + 1.0) - 1 / torch.log2(apart + 2.0)).abs()
    step.fill_diagonal_(0.0)
    swap = (1 / discounts[:, None] - 1 / discounts[None, :]).abs()
    weights: Tensor = (mu * step + swap) * (gains[:, None] - gains[None, :]).abs()
    return weights


def margin_mse(judged: Judged) -> Tensor:
    """Mean squared difference between the model's and the teacher's margins, positive minus negative."""
    known = ~judged.taught.isnan()
    positive, negative = (judged.labels > 0) & known, (judged.labels <= 0) & known
    if not positive.any() or not negative.any():
        return judged.scores.sum() * 0.0
    ours = judged.scores[positive][:, None] - judged.scores[negative][None, :]
    theirs = judged.taught[positive][:, None] - judged.taught[negative][None, :]
    return F.mse_loss(ours, theirs)


def mse(judged: Judged) -> Tensor:
    """Mean squared difference between scores and the teacher's."""
    known = ~judged.taught.isnan()
    return F.mse_loss(judged.scores[known], judged.taught[known]) if known.any() else judged.scores.sum() * 0.0


def kl(judged: Judged) -> Tensor:
    """Kullback-Leibler divergence of softmax(scores) from softmax(teacher's scores), both over `temperature`."""
    known = ~judged.taught.isnan()
    if known.sum() < 2:
        return judged.scores.sum() * 0.0
    ours = F.log_softmax(judged.scores[known] / judged.temperature, 0)
    return F.kl_div(ours, F.softmax(judged.taught[known] / judged.temperature, 0), reduction="sum")


LOSSES: Mapping[str, Callable[[Judged], Tensor]] = {
    "sft": sft,
    "bce": bce,
    "infonce": infonce,
    "listnet": listnet,
    "lambda": lambda_loss,
    "ranknet": ranknet,
    "margin_mse": margin_mse,
    "mse": mse,
    "kl": kl,
}


def combined(losses: Mapping[str, float], judged: Judged) -> Tensor:
    """The weighted sum."""
    return torch.stack([weight * LOSSES[name](judged) for name, weight in losses.items()]).sum()


def contrastive(
    queries: Tensor, documents: Tensor, owners: Tensor, positive: Tensor, temperature: float, margin: float | None
) -> Tensor:
    """InfoNCE of an embedder over all documents of a forward.

    `queries` (m, d) and `documents` (n, d) have length 1; `owners` (n,) says which query a document came with, `positive` (n,)
    whether it answers it. A query's other positives are no negatives, nor is a document whose cosine is above the positive's
    by more than `margin`: it most likely answers too.
    """
    cosines = queries @ documents.T
    own = owners[None, :] == torch.arange(len(queries), device=owners.device)[:, None]
    losses = []
    for place in positive.nonzero().flatten().tolist():
        row, owner = cosines[owners[place]], int(owners[place])
        negative = ~(own[owner] & positive)
        if margin is not None:
            negative = negative & (row.detach() <= row[place].detach() + margin)
        if negative.any():
            losses.append(F.softplus(torch.logsumexp(row[negative] / temperature, 0) - row[place] / temperature))
    return torch.stack(losses).mean() if losses else cosines.sum() * 0.0
