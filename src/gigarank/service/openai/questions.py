"""Typed questions about a text, as documents to score and as distributions over what may be answered. Pure.

A reranker answers one thing exactly: the probability that a document meets an instruction and a query. A predicate is that
probability. A choice or a score has one document for every option, and the options' logits are compared with each other: a
softmax over scores that the model gave one by one, an approximation, since it never saw the options side by side.
Invariant: the probabilities of a choice or a score add up to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gigarank.engine.work import Failure, Outcome, Unscored
from gigarank.errors import InvalidInput

MAX_QUESTIONS = 400
MAX_CHOICES = 255
MAX_LEVELS = 10
QuestionType = Literal["predicate", "choice", "score"]


@dataclass(frozen=True, slots=True)
class Question:
    """`text` is what is asked; `options` are the answers of a choice, or the levels of a score, lowest first, as text."""

    kind: QuestionType
    text: str
    options: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many documents it makes."""
        return len(self.options) or 1

    @property
    def characters(self) -> int:
        """Of its documents together, but for what stands between their parts."""
        return self.size * len(self.text) + sum(map(len, self.options))

    def documents(self) -> tuple[str, ...]:
        """What the model reads as its document, one an option."""
        if self.kind == "predicate":
            return (self.text,)
        asked = f"{self.text}\n" if self.text else ""
        return tuple(f"{asked}Answer: {option}" for option in self.options)


@dataclass(frozen=True, slots=True)
class Decided:
    """`probabilities`: of yes for a predicate, of each option else; empty where `refusal` says why there is no answer."""

    question: Question
    probabilities: tuple[float, ...]
    refusal: str | None = None

    @property
    def likeliest(self) -> int:
        """The first option of the highest probability."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """How far the likeliest option stands above chance: 0 where all are equal, 1 where it is certain."""
        count = len(self.probabilities)
        return max(0.0, (max(self.probabilities) * count - 1) / (count - 1))

    @property
    def expected(self) -> float:
        """The expected level, counted from 0."""
        return math.fsum(level * probability for level, probability in enumerate(self.probabilities))


def option_text(value: str, description: str | None) -> str:
    return f"{value}: {description}" if description else value


def decide(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> list[Decided]:
    """The answers, from the outcomes of all questions' documents one after the other."""
    decided = []
    start = 0
    for question in questions:
        stop = start + question.size
        decided.append(_decide_one(question, outcomes[start:stop]))
        start = stop
    return decided


def _decide_one(question: Question, outcomes: Sequence[Outcome]) -> Decided:
    logits = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            return Decided(question, (), outcome.error.message)
        if isinstance(outcome, Unscored):
            return Decided(question, (), "the deadline passed before this question was answered")
        logits.append(outcome.logit)
        if question.kind == "predicate":
            return Decided(question, (outcome.relevance_score,))
    return Decided(question, softmax(logits))


def softmax(logits: Sequence[float]) -> tuple[float, ...]:
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def check_distinct(options: Sequence[str | bool], place: str) -> None:
    """Raises InvalidInput where an option occurs twice; True and "true" differ."""
    seen: set[str | bool] = set()
    for index, option in enumerate(options):
        if option in seen:
            raise InvalidInput(f"{place}[{index}]: stands there twice", param=f"{place}[{index}]", received=str(option)[:64])
        seen.add(option)
