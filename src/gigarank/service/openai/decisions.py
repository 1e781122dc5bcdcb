"""POST /v1/decisions: typed questions about a text, in OpenAI's shape, or in System One's where the body has `state`.

A predicate is exactly the model's P(yes) of the prompt whose instruction is the developer's messages (the model's default
where there are none), whose query is the input and whose document is the question's instructions: what /v1/rerank gives the
same three texts. For choices and scores see questions.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.call import Answer, Call
from gigarank.service.openai.asking import Asked, ask
from gigarank.service.openai.fields import Fields, as_fields, check_count, not_blank, wrong_type
from gigarank.service.openai.messages import content_text
from gigarank.service.openai.questions import (
    MAX_CHOICES,
    MAX_LEVELS,
    MAX_QUESTIONS,
    Decided,
    Question,
    check_distinct,
    option_text,
)
from gigarank.service.openai.systemone import system_one
from gigarank.types import JsonObject, Usage

MAX_ITEMS = 10_000
"""Messages and calls in one input."""
_INSTRUCTING = ("developer", "system")
_SPEAKERS = {"user": "User", "assistant": "Assistant"}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
QUESTION_TYPES = ("predicate", "choice", "score")


async def create_decision(call: Call) -> Answer:
    fields = as_fields(call.body, "")
    if fields.value("state") is not None and fields.value("input") is None:
        return await system_one(call)
    instruction, query = read_input(fields)
    asked = list(fields.objects("questions", 1, MAX_QUESTIONS))
    questions = tuple(_question(question) for question in asked)
    told = await ask(call, fields, Asked(query, instruction, questions))
    answers = [_answer(of, decided) for of, decided in zip(asked, told.decided, strict=True)]
    return told.answer(answers, _usage(told.result.usage))


def read_input(fields: Fields) -> tuple[str | None, str]:
    """The instruction, None where nobody gave one, and the text that the questions are about."""
    given = fields.given("input")
    if isinstance(given, str):
        return None, not_blank(given, "input")
    if not isinstance(given, list):
        raise wrong_type("input", "string or list of messages", given)
    check_count("input", len(given), 1, MAX_ITEMS)
    items = [as_fields(item, f"input[{index}]") for index, item in enumerate(given)]
    instructions = [content_text(item.given("content"), item.at("content")) for item in items if _instructs(item)]
    spoken = list(_spoken([item for item in items if not _instructs(item)]))
    query = spoken[0][1] if len(spoken) == 1 else "\n".join(f"{speaker}: {text}" for speaker, text in spoken)
    return "\n\n".join(instructions) or None, not_blank(query, "input")


def _instructs(item: Fields) -> bool:
    return _is_message(item) and item.value("role") in _INSTRUCTING


def _is_message(item: Fields) -> bool:
    return item.value("type") in (None, "message")


def _spoken(items: list[Fields]) -> Iterator[tuple[str, str]]:
    """Who says what: messages, and calls of tools with their results."""
    called: dict[str, str] = {}
    for item in items:
        kind = item.text("type") or "message"
        if _is_message(item):
            role = item.choice("role", (*_SPEAKERS, *_INSTRUCTING)) or str(item.given("role"))
            yield _SPEAKERS[role], content_text(item.given("content"), item.at("content"))
        elif kind in _CALLS:
            name = called[item.required_text("call_id")] = item.required_text("name")
            item.given(_CALLS[kind])
            yield f"Call of {name}", item.text(_CALLS[kind]) or ""
        elif kind in _OUTPUTS:
            yield f"Result of {_called(item, called)}", content_text(item.given("output"), item.at("output"))
        else:
            known = ", ".join(("message", *_CALLS, *_OUTPUTS))
            place = item.at("type")
            raise InvalidInput(f"{place}: must be one of {known}", param=place, limit=known, received=kind[:64])


def _called(item: Fields, called: Mapping[str, str]) -> str:
    call_id = item.required_text("call_id")
    if call_id not in called:
        place = item.at("call_id")
        raise InvalidInput(f"{place}: no call of this id stands before it", param=place, received=call_id[:64])
    return called[call_id]


def _question(question: Fields) -> Question:
    question.text("name")
    question.given("type")
    kind = question.choice("type", QUESTION_TYPES)
    place = question.at("instructions")
    text = not_blank(content_text(question.given("instructions"), place), place)
    if kind == "choice":
        return Question("choice", text, _choices(question))
    if kind == "score":
        return Question("score", text, _levels(question))
    return Question("predicate", text)


def _choices(question: Fields) -> tuple[str, ...]:
    choices = list(question.objects("choices", 2, MAX_CHOICES))
    values = [_choice_value(choice) for choice in choices]
    check_distinct(values, question.at("choices"))
    return tuple(
        option_text(str(value).lower() if isinstance(value, bool) else value, choice.text("description"))
        for value, choice in zip(values, choices, strict=True)
    )


def _choice_value(choice: Fields) -> str | bool:
    value = choice.given("value")
    return value if isinstance(value, bool) else choice.required_text("value")


def _levels(question: Fields) -> tuple[str, ...]:
    levels = list(question.objects("levels", 2, MAX_LEVELS))
    check_distinct([level.required_text("label") for level in levels], question.at("levels"))
    return tuple(option_text(level.required_text("label"), level.text("description")) for level in levels)


def _answer(asked: Fields, decided: Decided) -> JsonObject:
    """The answer to one question, in OpenAI's words; a refusal has our `reason` beside them."""
    kind = decided.question.kind
    if decided.refusal is not None:
        return {"type": "refusal", "name": asked.value("name"), "reason": decided.refusal}
    answer: JsonObject = {"type": kind, "name": asked.value("name")}
    if kind == "predicate":
        return answer | {"probability": decided.probabilities[0]}
    answer["confidence"] = decided.confidence
    options: list[Any] = asked.items("choices" if kind == "choice" else "levels", 2, MAX_CHOICES)
    if kind == "choice":
        pairs = zip(options, decided.probabilities, strict=True)
        listed = [{"value": option["value"], "probability": probability} for option, probability in pairs]
        return answer | {"choice": options[decided.likeliest]["value"], "probabilities": listed}
    levels = [
        {"label": option["label"], "value": value, "probability": decided.probabilities[value]}
        for value, option in enumerate(options)
    ]
    return answer | {"score": decided.expected, "probabilities": levels}


def _usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.total_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
