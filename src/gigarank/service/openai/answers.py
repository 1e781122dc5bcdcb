"""What /v1/completions and /v1/chat/completions have in common: the one word that a reranker says, yes or no.

The answer is the likelier of the two words. Their log-probabilities are exact, over the whole vocabulary, so that what is
left of probability 1 went to other words. Invariant: a wish that would change the text or the log-probabilities and that is
not granted is refused, never ignored; sampling is not such a wish, since the answer is not sampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.engine.work import Prompt, Tier
from gigarank.errors import UnsupportedParameter
from gigarank.service.backend import Answered, ModelState
from gigarank.service.call import Answer, Call
from gigarank.service.openai.fields import Fields
from gigarank.service.openai.messages import json_text
from gigarank.service.openai.urgency import urgency_of
from gigarank.types import JsonObject

MAX_LOGPROBS = 20
MAX_TOKENS = 2**31 - 1
_LEAST = -9_999.0
"""What stands for the logarithm of a probability too small for a number, as OpenAI has it."""

HARMLESS: dict[str, tuple[Any, ...]] = {
    "stream": (False,),
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
    "prompt_logprobs": (),
}
"""The fields that cannot be granted, each with the values, beside null, that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Word:
    """One of the two words; `logprob` is the natural logarithm of its probability."""

    text: str
    logprob: float


def refuse_unsupported(fields: Fields) -> None:
    for name, harmless in HARMLESS.items():
        value = fields.value(name)
        if value is not None and not any(type(value) is type(one) and value == one for one in harmless):
            raise UnsupportedParameter(
                f"{name}: is not supported here, where the answer is one word, yes or no, and comes whole",
                param=name,
                limit=", ".join(map(json_text, (None, *harmless))),
            )
    for name in ("max_tokens", "max_completion_tokens"):
        fields.integer(name, 1, MAX_TOKENS)


async def answer_prompts(call: Call, fields: Fields, model: ModelState, prompts: Sequence[Prompt]) -> list[Answered]:
    return await call.backend.answer(model.name, prompts, urgency_of(call, fields))


def words(answered: Answered) -> tuple[Word, Word]:
    """Both words, the likelier first."""
    yes = Word(answered.yes, max(answered.yes_logprob, _LEAST))
    no = Word(answered.no, max(answered.no_logprob, _LEAST))
    return (yes, no) if yes.logprob >= no.logprob else (no, yes)


def completed(body: JsonObject, model: ModelState, answers: Sequence[Answered], tier: Tier) -> Answer:
    """`body` with the model and the usage."""
    read = sum(answered.prompt_tokens for answered in answers)
    usage = {
        "prompt_tokens": read,
        "completion_tokens": len(answers),
        "total_tokens": read + len(answers),
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "service_tier": tier,
    }
    return Answer({**body, "model": model.name, "usage": usage}, model.name, len(answers), read, answers[0].timing)
