"""How far an order follows an instruction that parts documents of one subject: the paired accuracy of a set.

For sets whose judged documents of a query say the same but for what the instruction asks for: edits of one passage, or one
passage in many languages. Knows judgments and scores; no model, no file. Invariants: a document that nobody judged takes part
in no pair; a question counts once, however many instructions and pairs it has; equal scores are half right, so that an order
without information gets 0.5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gigarank.evaluation.metrics import mean
from gigarank.evaluation.sets import Qrels, Run
from gigarank.evaluation.significance import bootstrap

CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Contrast:
    """`accuracy`: the mean over questions of the share of pairs whose relevant document has the higher score. `low` and `high`
    are its 95% interval, by drawing questions anew."""

    accuracy: float
    low: float
    high: float
    queries: int
    pairs: int

    @property
    def above_chance(self) -> bool:
        return self.low > CHANCE


def judged_pairs(scores: Mapping[str, float], judged: Mapping[str, int]) -> list[tuple[float, float]]:
    """(score of a relevant document, score of one judged not relevant), every such pair of the scored documents."""
    relevant = [scores[document] for document, grade in judged.items() if grade > 0 and document in scores]
    others = [scores[document] for document, grade in judged.items() if grade <= 0 and document in scores]
    return [(one, other) for one in relevant for other in others]


def share_right(pairs: Sequence[tuple[float, float]]) -> float:
    """The share of pairs whose first is the greater; equal ones count half."""
    return mean([1.0 if one > other else CHANCE if one == other else 0.0 for one, other in pairs])


def contrast(qrels: Qrels, run: Run, questions: Mapping[str, str]) -> Contrast | None:
    """Over the run's queries that have both kinds of judged documents; None where none has.

    `questions`: query id -> what it asks. Queries that ask the same under several instructions count as one.
    """
    found = {query: judged_pairs(scores, qrels.get(query, {})) for query, scores in run.items()}
    pairs = {query: one for query, one in found.items() if one}
    if not pairs:
        return None
    by_question: dict[str, list[float]] = {}
    for query, one in pairs.items():
        by_question.setdefault(questions.get(query, query), []).append(share_right(one))
    shares = [mean(one) for one in by_question.values()]
    drawn = bootstrap(shares, [CHANCE] * len(shares))
    return Contrast(
        accuracy=mean(shares),
        low=CHANCE + drawn.low,
        high=CHANCE + drawn.high,
        queries=len(pairs),
        pairs=sum(len(one) for one in pairs.values()),
    )
