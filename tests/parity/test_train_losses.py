"""Our losses: by hand, and as sentence-transformers 6.2 computes them, values and gradients."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sentence_transformers.cross_encoder import CrossEncoder
from sentence_transformers.cross_encoder import losses as theirs
from torch import Tensor, nn

from gigarank.training.losses import LOSSES, Judged, combined, contrastive

NAN = float("nan")
SCORES = [0.3, -1.2, 2.0, 0.1, -0.4]
LABELS = [1.0, 0.0, 0.0, 1.0, 0.5]
TEACHER = [2.0, -1.0, 0.5, 1.0, 0.0]


class Answering(CrossEncoder):  # type: ignore[misc]
    """A CrossEncoder without a network: the scores of pairs are those of a table."""

    device = torch.device("cpu")
    num_labels = 1

    def __init__(self, scores: dict[tuple[str, str], Tensor]) -> None:
        nn.Module.__init__(self)
        self._scores = scores

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, Any]:
        return {"pairs": pairs}

    def forward(self, features: dict[str, Any]) -> dict[str, Tensor]:
        return {"scores": torch.stack([self._scores[pair] for pair in features["pairs"]])[:, None]}


def judged(scores: Tensor, labels: list[float], taught: list[float] | None = None, **more: Any) -> Judged:
    """Answers whose difference is the score."""
    answers = torch.stack([torch.full_like(scores, 0.7), scores + 0.7], dim=1)
    return Judged(answers, torch.tensor(labels), torch.tensor(taught or [NAN] * len(labels)), **more)


def leaf(values: list[float]) -> Tensor:
    return torch.tensor(values, requires_grad=True)


def check(name: str, mine: Judged, scores: Tensor, other: Callable[[Answering, list[str]], Tensor], own: Tensor) -> None:
    """Value and gradient of our loss are theirs of the same scores."""
    documents = [f"d{n}" for n in range(len(own))]
    their_loss = other(Answering({("q", document): score for document, score in zip(documents, own, strict=True)}), documents)
    our_loss = LOSSES[name](mine)
    assert our_loss.item() == pytest.approx(their_loss.item(), rel=1e-5)
    (our_gradient,), (their_gradient,) = torch.autograd.grad(our_loss, scores), torch.autograd.grad(their_loss, own)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-6)
    assert our_gradient.abs().max() > 0


@pytest.mark.parametrize("labels", [LABELS, [0.0, 1.0, 0.0, 0.0, 0.0], [1.0, 0.25, 0.5, 0.0, 0.75]])
@pytest.mark.parametrize(
    ("name", "loss"), [("listnet", theirs.ListNetLoss), ("ranknet", theirs.RankNetLoss), ("lambda", theirs.LambdaLoss)]
)
def test_listwise_losses(name: str, loss: Any, labels: list[float]) -> None:
    scores, own = leaf(SCORES), leaf(SCORES)
    check(
        name,
        judged(scores, labels),
        scores,
        lambda model, documents: loss(model)([["q"], [documents]], [torch.tensor(labels)]),
        own,
    )


def test_bce() -> None:
    scores, own = leaf(SCORES), leaf(SCORES)

    def other(model: Answering, documents: list[str]) -> Tensor:
        found: Tensor = theirs.BinaryCrossEntropyLoss(model)([["q"] * 5, documents], torch.tensor(LABELS))
        return found

    check("bce", judged(scores, LABELS), scores, other, own)


def test_mse() -> None:
    scores, own = leaf(SCORES), leaf(SCORES)

    def other(model: Answering, documents: list[str]) -> Tensor:
        found: Tensor = theirs.MSELoss(model)([["q"] * 5, documents], torch.tensor(TEACHER))
        return found

    check("mse", judged(scores, LABELS, TEACHER), scores, other, own)


def test_margin_mse() -> None:
    scores, own = leaf(SCORES), leaf(SCORES)
    labels = [1.0, 0.0, 0.0, 0.0, 0.0]

    def other(model: Answering, documents: list[str]) -> Tensor:
        columns = [["q"], *([document] for document in documents)]
        found: Tensor = theirs.MarginMSELoss(model)(columns, torch.tensor([TEACHER]))
        return found

    check("margin_mse", judged(scores, labels, TEACHER), scores, other, own)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_infonce_is_their_ranking_loss_with_given_negatives(temperature: float) -> None:
    scores, own = leaf(SCORES), leaf(SCORES)
    labels = [1.0, 0.0, 0.0, 0.0, 0.0]

    def other(model: Answering, documents: list[str]) -> Tensor:
        loss = theirs.MultipleNegativesRankingLoss(
            model, num_negatives=None, scale=1 / temperature, activation_fn=nn.Identity()
        )
        found: Tensor = loss([["q"], *([document] for document in documents)], None)
        return found

    check("infonce", judged(scores, labels, temperature=temperature), scores, other, own)


def test_infonce_takes_each_positive_against_all_negatives() -> None:
    scores = torch.tensor([1.0, 2.0, 0.5, -1.0])
    negatives = math.exp(0.5) + math.exp(-1.0)
    expected = sum(-math.log(math.exp(one) / (math.exp(one) + negatives)) for one in (1.0, 2.0)) / 2
    assert LOSSES["infonce"](judged(scores, [1.0, 1.0, 0.0, 0.0])).item() == pytest.approx(expected)


def test_a_negative_that_the_teacher_prefers_to_a_positive_is_left_out() -> None:
    scores = leaf([1.0, 0.5, 0.25, 0.0])
    taught = [0.6, 0.71, 0.65, NAN]
    (gradient,) = torch.autograd.grad(LOSSES["infonce"](judged(scores, [1.0, 0.0, 0.0, 0.0], taught, margin=0.1)), scores)
    assert [part != 0 for part in gradient.tolist()] == [True, False, True, True]
    without = judged(leaf([1.0, 0.5]), [1.0, 0.0], [NAN, 9.0], margin=0.1)
    assert LOSSES["infonce"](without).item() > 0, "the positive has no teacher's score: nothing is known"


def test_sft_is_the_negative_log_probability_of_the_answer_over_the_whole_vocabulary() -> None:
    logits = torch.randn(3, 11, generator=torch.Generator().manual_seed(0))
    known = Judged(logits[:, [4, 7]], torch.tensor([1.0, 0.0, 0.25]), torch.full((3,), NAN), torch.logsumexp(logits, -1))
    expected = [-logits.log_softmax(-1)[row, column] for row, column in ((0, 7), (1, 4))]
    mixed = -0.25 * logits.log_softmax(-1)[2, 7] - 0.75 * logits.log_softmax(-1)[2, 4]
    assert LOSSES["sft"](known).item() == pytest.approx(((sum(expected) + mixed) / 3).item())


def test_kl_is_zero_for_the_teachers_own_distribution_and_by_hand_elsewhere() -> None:
    shifted = torch.tensor([2.0, 1.0, 0.0]) + 5.0
    assert LOSSES["kl"](judged(shifted, [1.0, 0.0, 0.0], [2.0, 1.0, 0.0])).item() == pytest.approx(0.0, abs=1e-6)
    found = LOSSES["kl"](judged(torch.tensor([0.0, 0.0, 9.0]), [1.0, 0.0, 0.0], [math.log(3.0), 0.0, NAN]))
    assert found.item() == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"sft", "bce", "listnet"}))
def test_where_there_is_nothing_to_compare_the_loss_is_zero_and_can_be_derived(name: str) -> None:
    scores = leaf([1.0])
    found = LOSSES[name](judged(scores, [1.0]))
    (gradient,) = torch.autograd.grad(found, scores)
    assert found.item() == 0.0 and gradient.tolist() == [0.0]


def test_several_losses_are_their_weighted_sum() -> None:
    known = judged(torch.tensor(SCORES), LABELS, TEACHER)
    expected = 0.3 * LOSSES["bce"](known) + 2.0 * LOSSES["kl"](known)
    assert combined({"bce": 0.3, "kl": 2.0}, known).item() == pytest.approx(expected.item())


def unit(count: int, seed: int) -> Tensor:
    return nn.functional.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_embedders_loss_is_the_libraries_with_in_batch_and_hard_negatives() -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss  # noqa: PLC0415

    queries, positives, negatives = unit(3, 0), unit(3, 1), unit(3, 2)
    loss = MultipleNegativesRankingLoss(nn.Identity(), scale=1 / 0.05)
    expected = loss.compute_loss_from_embeddings([queries, positives, negatives], None)
    documents = torch.stack([positives, negatives], dim=1).flatten(0, 1)
    owners, positive = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([True, False] * 3)
    assert contrastive(queries, documents, owners, positive, 0.05, None).item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_embedders_other_positives_and_likely_answers_are_no_negatives() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    documents = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0], [1.0, 0.0]])
    owners, positive = torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, True, False])

    def one(cosine: float, others: list[float]) -> float:
        return math.log(1 + sum(math.exp(other - cosine) for other in others))

    both = contrastive(queries, documents, owners, positive, 1.0, None)
    assert both.item() == pytest.approx((one(0.6, [0.0, 1.0]) + one(0.8, [0.0, 1.0]) + one(1.0, [0.8, 0.6, 0.0])) / 3)
    filtered = contrastive(queries, documents, owners, positive, 1.0, 0.3)
    assert filtered.item() == pytest.approx((one(0.6, [0.0]) + one(0.8, [0.0, 1.0]) + one(1.0, [0.8, 0.6, 0.0])) / 3)
