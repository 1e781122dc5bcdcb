"""From questions to the backend and back: the one search that both shapes of /v1/decisions make.

Invariant: nothing is cut. A question that does not fit into the model's context is refused, and the others are answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gigarank.engine.work import MOST_CHARACTERS_PER_TOKEN, Result, Search, Tier, Work
from gigarank.service.call import Answer, Call
from gigarank.service.openai.fields import Fields, check_size
from gigarank.service.openai.models import model_of
from gigarank.service.openai.questions import Decided, Question, decide
from gigarank.service.openai.urgency import urgency_of
from gigarank.service.settings import Settings
from gigarank.types import JsonObject


@dataclass(frozen=True, slots=True)
class Asked:
    """What the questions are about. `instruction` None is the prompt format's default."""

    query: str
    instruction: str | None
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """The answers, in the order of the questions."""

    model: str
    decided: tuple[Decided, ...]
    result: Result
    tier: Tier

    def answer(self, answers: object, usage: JsonObject) -> Answer:
        computed = self.result.usage
        body = {"model": self.model, "answers": answers, "usage": {**usage, "service_tier": self.tier}}
        return Answer(body, self.model, computed.documents, computed.total_tokens, self.result.timing)


async def ask(call: Call, fields: Fields, asked: Asked) -> Told:
    """Scores one document a predicate, and one an option of every other question. Raises RequestTooLarge."""
    model = model_of(call, fields, "reranker").name
    _check_size(asked.questions, call.settings)
    documents = [document for question in asked.questions for document in question.documents()]
    urgency = urgency_of(call, fields)
    work = Work(
        searches=(Search(asked.query, tuple(documents), asked.instruction),),
        priority=urgency.priority,
        tier=urgency.tier,
        deadline=urgency.deadline,
        truncate=False,
    )
    result = await call.backend.score(model, work, urgency.wait_s)
    return Told(model, tuple(decide(asked.questions, result.outcomes[0])), result, urgency.tier)


def _check_size(questions: Sequence[Question], settings: Settings) -> None:
    """From the questions alone: an option repeats its question's text, and is not written before it is known to fit."""
    what = "predicates, choices and levels in all"
    check_size("questions", what, sum(question.size for question in questions), settings.max_documents)
    characters = sum(question.characters for question in questions)
    most = MOST_CHARACTERS_PER_TOKEN * settings.max_waiting_tokens
    check_size("questions", "characters, each option with its question's", characters, most)
