"""POST /v1/systemone: typed questions about a state, in the shape of TypeSafe's System One (Perplexity's and OpenRouter's too).

`state`, instructions and criteria may be text or JSON, which the model reads as compact JSON. The numbers are those of
decisions.py: a noul is exactly P(yes), choices and scores are approximations. Invariant: an answer stands under its
question's own id; one that could not be given is of type `refusal`.
"""

from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.call import Answer, Call
from gigarank.service.openai.asking import Asked, ask
from gigarank.service.openai.fields import Fields, as_fields, check_count, not_blank, wrong_type
from gigarank.service.openai.messages import json_text
from gigarank.service.openai.questions import (
    MAX_CHOICES,
    MAX_LEVELS,
    MAX_QUESTIONS,
    Decided,
    Question,
    option_text,
)
from gigarank.types import JsonObject

QUESTION_TYPES = ("noul", "choice", "score")
_IMAGES = ("image", "image_url", "input_image")


async def system_one(call: Call) -> Answer:
    fields = as_fields(call.body, "")
    state = _content(fields, "state")
    _refuse_images(fields.value("state"))
    listed = as_fields(fields.given("questions"), "questions")
    check_count("questions", len(listed.values), 1, MAX_QUESTIONS)
    asked = {name: as_fields(question, listed.at(name[:64])) for name, question in listed.values.items()}
    questions = tuple(_question(question) for question in asked.values())
    told = await ask(call, fields, Asked(not_blank(state or "", "state"), fields.text("instruction"), questions))
    pairs = zip(asked.items(), told.decided, strict=True)
    answers = {name: _answer(question, decided) for (name, question), decided in pairs}
    tokens = told.result.usage.total_tokens
    return told.answer(answers, {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens})


def _content(fields: Fields, name: str) -> str | None:
    """Text, or an object or a list as its JSON."""
    value = fields.value(name)
    if value is not None and not isinstance(value, str | dict | list):
        raise wrong_type(fields.at(name), "string, object or list", value)
    return None if value is None else json_text(value)


def _refuse_images(state: Any) -> None:
    for index, part in enumerate(state if isinstance(state, list) else []):
        if isinstance(part, dict) and part.get("type") in _IMAGES:
            place = f"state[{index}].type"
            raise InvalidInput(f"{place}: images cannot be read, the models here read text only", param=place)


def _question(question: Fields) -> Question:
    question.given("type")
    kind = question.choice("type", QUESTION_TYPES)
    text = _content(question, "instructions") or ""
    if kind == "choice":
        return Question("choice", text, _options(question))
    if kind == "score":
        return Question("score", text, _levels(question))
    return Question("predicate", not_blank("\n".join(filter(None, [text, *_meanings(question)])), question.at("instructions")))


def _meanings(question: Fields) -> list[str]:
    """What yes and no mean, where a noul's criteria say it."""
    if question.value("criteria") is None:
        return []
    criteria = as_fields(question.value("criteria"), question.at("criteria"))
    said = [(word, _content(criteria, side)) for word, side in (("Yes", "true"), ("No", "false"))]
    return [f"{word} means: {meaning}" for word, meaning in said if meaning]


def _options(question: Fields) -> tuple[str, ...]:
    criteria = as_fields(question.given("criteria"), question.at("criteria"))
    check_count(question.at("criteria"), len(criteria.values), 2, MAX_CHOICES)
    return tuple(option_text(not_blank(name, criteria.place), _content(criteria, name)) for name in criteria.values)


def _levels(question: Fields) -> tuple[str, ...]:
    levels = question.items("criteria", 2, MAX_LEVELS)
    place = question.at("criteria")
    for index, level in enumerate(levels):
        if not isinstance(level, str | dict | list):
            raise wrong_type(f"{place}[{index}]", "string, object or list", level)
    return tuple(not_blank(json_text(level), f"{place}[{index}]") for index, level in enumerate(levels))


def _answer(asked: Fields, decided: Decided) -> JsonObject:
    if decided.refusal is not None:
        return {"type": "refusal", "reason": decided.refusal}
    if decided.question.kind == "predicate":
        return {"type": "noul", "noul": decided.probabilities[0]}
    criteria = asked.value("criteria")
    if decided.question.kind == "choice":
        names = list(criteria)
        found: JsonObject = {"choice": names[decided.likeliest]}
    else:
        names = [str(level) for level in range(len(criteria))]
        found = {"score": decided.expected, "legend": dict(zip(names, criteria, strict=True))}
    probabilities = dict(zip(names, decided.probabilities, strict=True))
    return {"type": decided.question.kind, **found, "probabilities": probabilities, "confidence": decided.confidence}
