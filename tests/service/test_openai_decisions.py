"""/v1/decisions in OpenAI's shape: what the model reads, what comes back, what is refused."""

import math
from typing import Any

import pytest

from gigarank.errors import InvalidInput, RequestTooLarge
from gigarank.service.backend import Urgency
from gigarank.service.openai.decisions import create_decision
from gigarank.service.openai.questions import softmax
from gigarank.service.settings import Settings
from openai_calls import Blind, Recording, answer_of, body_of

TICKET = "I was charged twice for my renewal"
PREDICATE = {"type": "predicate", "instructions": "the customer was charged twice", "name": "double"}
CHOICE = {
    "type": "choice",
    "instructions": "Which team?",
    "name": "team",
    "choices": [{"value": "shipping"}, {"value": "billing", "description": "renewal charged twice"}],
}
SCORE = {
    "type": "score",
    "instructions": "How angry?",
    "levels": [{"label": "calm"}, {"label": "annoyed", "description": "charged twice"}, {"label": "furious"}],
}


def decide(questions: list[Any], said: Any = TICKET, **rest: Any) -> Any:
    return body_of(create_decision, {"model": "fake", "input": said, "questions": questions}, **rest)


def read(said: Any, questions: list[Any] | None = None) -> Any:
    """The search that the backend was asked for."""
    backend = Recording()
    decide(questions or [PREDICATE], said, backend=backend)
    (work,) = backend.works
    (search,) = work.searches
    return search


def logit(document: str) -> float:
    """The fake's: how many of the query's words a document has."""
    return 2.0 * len(set(TICKET.lower().split()) & set(document.lower().split())) - 1.0


def test_a_predicate_is_the_relevance_score_of_the_same_three_texts() -> None:
    body = decide([PREDICATE])
    expected = 1 / (1 + math.exp(-logit("the customer was charged twice")))
    assert body["answers"] == [{"type": "predicate", "name": "double", "probability": expected}]
    search = read(TICKET)
    assert (search.query, search.documents, search.instruction) == (TICKET, ("the customer was charged twice",), None)


def test_a_choice_is_a_softmax_over_its_options() -> None:
    (answer,) = decide([CHOICE])["answers"]
    documents = ("Which team?\nAnswer: shipping", "Which team?\nAnswer: billing: renewal charged twice")
    assert read(TICKET, [CHOICE]).documents == documents
    expected = softmax([logit(document) for document in documents])
    assert (answer["type"], answer["name"], answer["choice"]) == ("choice", "team", "billing")
    assert answer["probabilities"] == [
        {"value": "shipping", "probability": expected[0]},
        {"value": "billing", "probability": expected[1]},
    ]
    assert answer["confidence"] == pytest.approx(2 * expected[1] - 1)


def test_a_score_is_the_expected_level() -> None:
    (answer,) = decide([SCORE])["answers"]
    expected = softmax([logit(f"How angry?\nAnswer: {text}") for text in ("calm", "annoyed: charged twice", "furious")])
    assert (answer["type"], answer["name"]) == ("score", None)
    assert answer["score"] == pytest.approx(expected[1] + 2 * expected[2])
    assert answer["probabilities"] == [
        {"label": label, "value": value, "probability": expected[value]}
        for value, label in enumerate(("calm", "annoyed", "furious"))
    ]


def test_many_questions_are_one_search_and_answered_in_their_order() -> None:
    backend = Recording()
    body = decide([SCORE, PREDICATE, CHOICE], backend=backend)
    assert [answer["type"] for answer in body["answers"]] == ["score", "predicate", "choice"]
    assert body["answers"][1:] == decide([PREDICATE, CHOICE])["answers"]
    assert len(backend.works) == 1
    assert len(backend.works[0].searches[0].documents) == 3 + 1 + 2
    assert backend.works[0].truncate is False


def test_equal_options_have_no_confidence() -> None:
    (answer,) = decide([{**CHOICE, "choices": [{"value": True}, {"value": False}]}], "unrelated")["answers"]
    assert (answer["choice"], answer["confidence"]) == (True, 0.0)
    assert [option["value"] for option in answer["probabilities"]] == [True, False]


def test_a_boolean_and_a_word_of_the_same_text_are_two_choices() -> None:
    choices = [{"value": True}, {"value": "true"}]
    (answer,) = decide([{**CHOICE, "choices": choices}])["answers"]
    assert [type(option["value"]) for option in answer["probabilities"]] == [bool, str]
    assert read(TICKET, [{**CHOICE, "choices": choices}]).documents[0] == "Which team?\nAnswer: true"


def test_the_usage_has_both_details_objects() -> None:
    answer = answer_of(create_decision, {"input": TICKET, "questions": [PREDICATE, PREDICATE]})
    usage = answer.body["usage"]
    assert usage["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 0}
    assert (usage["output_tokens"], usage["input_tokens"]) == (0, usage["total_tokens"])
    assert answer.tokens == usage["total_tokens"] == 7 + 2 * (5 + 9)
    assert (answer.documents, answer.model) == (2, "fake")


def test_a_question_that_cannot_be_answered_is_refused_and_the_others_are_not() -> None:
    unreadable = {**PREDICATE, "instructions": "unreadable", "name": "long"}
    late = {**CHOICE, "choices": [{"value": "billing"}, {"value": "late"}]}
    refused, answered, unscored = decide([unreadable, PREDICATE, late], backend=Blind())["answers"]
    assert refused == {"type": "refusal", "name": "long", "reason": "documents: does not fit"}
    assert answered == decide([PREDICATE])["answers"][0]
    assert (unscored["type"], unscored["name"]) == ("refusal", "team")
    assert "deadline" in unscored["reason"]


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_one_message_is_its_text_and_developers_instruct() -> None:
    assert read([message("user", TICKET)]).query == TICKET
    search = read([message("developer", "Be strict."), message("system", "Be brief."), message("user", TICKET)])
    assert (search.instruction, search.query) == ("Be strict.\n\nBe brief.", TICKET)


def test_a_conversation_keeps_who_said_what() -> None:
    said = [
        message("user", "Where is it?"),
        {"type": "message", **message("assistant", [{"type": "output_text", "text": "I look."}])},
        {"type": "function_call", "call_id": "1", "name": "find", "arguments": '{"id": 7}'},
        {"type": "function_call_output", "call_id": "1", "output": "lost"},
        {"type": "custom_tool_call", "call_id": "2", "name": "shell", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "nothing"}]},
    ]
    assert read(said).query == (
        'User: Where is it?\nAssistant: I look.\nCall of find: {"id": 7}\nResult of find: lost\n'
        "Call of shell: ls\nResult of shell: nothing"
    )


def test_parts_are_lines_and_json_is_compact() -> None:
    parts = [{"type": "input_text", "text": "An order:"}, {"type": "input_json", "data": {"id": 7, "von": "Zoë"}}]
    assert read([message("user", parts)]).query == 'An order:\n{"id":7,"von":"Zoë"}'
    asked = read(TICKET, [{"type": "predicate", "instructions": [{"type": "input_text", "text": "late?"}]}])
    assert asked.documents == ("late?",)


IMAGE = {"type": "input_image", "image_url": "https://example.org/a.png"}


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ([message("user", [IMAGE])], "input[0].content[0].type"),
        ([message("tool", "x")], "input[0].role"),
        ([{"content": "x"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([message("user", 3)], "input[0].content"),
        ([message("user", ["x"])], "input[0].content[0]"),
        ([message("user", [{"text": "x"}])], "input[0].content[0].type"),
        ([message("user", [{"type": "input_text"}])], "input[0].content[0].text"),
        ([message("user", [{"type": "input_json", "data": 3}])], "input[0].content[0].data"),
        ([{"type": "reasoning"}], "input[0].type"),
        ([{"type": "function_call_output", "call_id": "9", "output": "x"}], "input[0].call_id"),
        ([{"type": "function_call", "call_id": "9", "arguments": "x"}], "input[0].name"),
        ([{"type": "function_call", "call_id": "9", "name": "f"}], "input[0].arguments"),
        (["x"], "input[0]"),
        ([], "input"),
        ([message("developer", "only instructions")], "input"),
        ("  ", "input"),
        (None, "input"),
        ({"role": "user"}, "input"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(said: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decide([PREDICATE], said)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("question", "param"),
    [
        ({"instructions": "x"}, "type"),
        ({"type": "box", "instructions": "x"}, "type"),
        ({"type": "predicate"}, "instructions"),
        ({"type": "predicate", "instructions": " "}, "instructions"),
        ({"type": "predicate", "instructions": [IMAGE]}, "instructions[0].type"),
        ({**PREDICATE, "name": 3}, "name"),
        ({"type": "choice", "instructions": "x"}, "choices"),
        ({**CHOICE, "choices": [{"value": "a"}]}, "choices"),
        ({**CHOICE, "choices": [{"value": str(i)} for i in range(256)]}, "choices"),
        ({**CHOICE, "choices": [{"value": "a"}, {"value": "a"}]}, "choices[1]"),
        ({**CHOICE, "choices": [{"value": "a"}, {"value": 3}]}, "choices[1].value"),
        ({**CHOICE, "choices": [{"value": "a"}, {"value": "b", "description": 3}]}, "choices[1].description"),
        ({**SCORE, "levels": [{"label": "a"}]}, "levels"),
        ({**SCORE, "levels": [{"label": str(i)} for i in range(11)]}, "levels"),
        ({**SCORE, "levels": [{"label": "a"}, {}]}, "levels[1].label"),
    ],
)
def test_a_wrong_question_is_named_by_its_place(question: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decide([PREDICATE, question])
    assert raised.value.param == f"questions[1].{param}"


def test_from_1_to_400_questions() -> None:
    assert len(decide([PREDICATE] * 400)["answers"]) == 400
    for count in (0, 401):
        with pytest.raises(InvalidInput) as raised:
            decide([PREDICATE] * count)
        assert (raised.value.param, raised.value.received) == ("questions", count)
    with pytest.raises(InvalidInput):
        body_of(create_decision, {"input": TICKET, "questions": PREDICATE})


def test_options_count_as_documents() -> None:
    with pytest.raises(RequestTooLarge) as raised:
        decide([CHOICE, SCORE], settings=Settings(max_documents=4))
    assert (raised.value.param, raised.value.limit, raised.value.received) == ("questions", 4, 5)


def test_urgency_reaches_the_backend() -> None:
    backend = Recording()
    body = {"input": TICKET, "questions": [PREDICATE], "service_tier": "batch", "priority": 2, "deadline_ms": 1000}
    answered = body_of(create_decision, body, backend, received=100.0, urgency=Urgency(wait_s=7.0))
    assert answered["usage"]["service_tier"] == "batch"
    (work,) = backend.works
    assert (work.tier, work.priority, work.deadline) == ("batch", 2, 101.0)
    assert backend.waits == [7.0]


def test_far_apart_logits_overflow_nothing() -> None:
    assert softmax([1e4, -1e4]) == (1.0, 0.0)
    assert sum(softmax([0.1] * 255)) == pytest.approx(1, abs=1e-12)
