"""/v1/systemone, and /v1/decisions where the body has a `state`."""

from typing import Any

import pytest

from gigarank.errors import InvalidInput
from gigarank.service.openai.decisions import create_decision
from gigarank.service.openai.systemone import system_one
from openai_calls import Blind, Recording, body_of

STATE = "payouts failing for three days"
NOUL = {"type": "noul", "instructions": "payouts failing"}
CHOICE = {"type": "choice", "instructions": "Which team?", "criteria": {"sales": None, "money": "payouts failing"}}
SCORE = {"type": "score", "instructions": "How bad?", "criteria": ["a detail", "payouts failing for days"]}


def ask(questions: Any, state: Any = STATE, **rest: Any) -> Any:
    return body_of(system_one, {"model": "fake", "state": state, "questions": questions}, **rest)


def read(questions: Any, state: Any = STATE, **rest: Any) -> Any:
    backend = Recording()
    body_of(system_one, {"state": state, "questions": questions, **rest}, backend)
    return backend.works[0].searches[0]


def openai(question: dict[str, Any]) -> Any:
    return body_of(create_decision, {"input": STATE, "questions": [question]})["answers"][0]


def test_the_numbers_are_those_of_openais_shape() -> None:
    answers = ask({"urgent": NOUL, "team": CHOICE, "bad": SCORE})["answers"]
    assert list(answers) == ["urgent", "team", "bad"]
    predicate = openai({"type": "predicate", "instructions": "payouts failing"})
    assert answers["urgent"] == {"type": "noul", "noul": predicate["probability"]}
    choices = [{"value": "sales"}, {"value": "money", "description": "payouts failing"}]
    choice = openai({"type": "choice", "instructions": "Which team?", "choices": choices})
    assert answers["team"] == {
        "type": "choice",
        "choice": "money",
        "probabilities": {option["value"]: option["probability"] for option in choice["probabilities"]},
        "confidence": choice["confidence"],
    }
    levels = [{"label": "a detail"}, {"label": "payouts failing for days"}]
    score = openai({"type": "score", "instructions": "How bad?", "levels": levels})
    assert (answers["bad"]["score"], answers["bad"]["confidence"]) == (score["score"], score["confidence"])
    assert answers["bad"]["legend"] == {"0": "a detail", "1": "payouts failing for days"}
    assert list(answers["bad"]["probabilities"]) == ["0", "1"]


def test_decisions_knows_it_by_its_state() -> None:
    body = {"state": STATE, "questions": {"urgent": NOUL}}
    assert body_of(create_decision, body) == body_of(system_one, body)
    assert body_of(create_decision, {**body, "input": None}) == body_of(system_one, body)
    with pytest.raises(InvalidInput) as raised:
        body_of(create_decision, {**body, "input": STATE})
    assert raised.value.param == "questions"


def test_the_usage() -> None:
    usage = ask({"urgent": NOUL})["usage"]
    assert usage == {"input_tokens": 5 + 2 + 9, "output_tokens": 0, "total_tokens": 16, "service_tier": "default"}


def test_json_is_read_as_compact_json() -> None:
    search = read({"q": {"type": "noul", "instructions": {"question": "late?", "by": 3}}}, {"name": "Zoë", "days": [1, 2]})
    assert search.query == '{"name":"Zoë","days":[1,2]}'
    assert search.documents == ('{"question":"late?","by":3}',)
    assert read({"q": NOUL}, ["a", None]).query == '["a",null]'


def test_what_yes_and_no_mean_stands_behind_the_question() -> None:
    criteria = {"true": "money is missing", "false": {"else": 1}}
    assert read({"q": {**NOUL, "criteria": criteria}}).documents == (
        'payouts failing\nYes means: money is missing\nNo means: {"else":1}',
    )
    assert read({"q": {"type": "noul", "criteria": {"true": "late"}}}).documents == ("Yes means: late",)


def test_options_need_no_question_before_them() -> None:
    search = read({"q": {"type": "choice", "criteria": {"a": None, "b": {"x": 1}}}})
    assert search.documents == ("Answer: a", 'Answer: b: {"x":1}')


def test_an_instruction_is_taken() -> None:
    assert read({"q": NOUL}, instruction="Be strict").instruction == "Be strict"
    assert read({"q": NOUL}).instruction is None


def test_a_refusal_stands_under_its_id() -> None:
    answers = ask({"long": {**NOUL, "instructions": "unreadable"}, "urgent": NOUL}, backend=Blind())["answers"]
    assert answers["long"] == {"type": "refusal", "reason": "documents: does not fit"}
    assert answers["urgent"] == ask({"urgent": NOUL})["answers"]["urgent"]


@pytest.mark.parametrize(
    ("questions", "param"),
    [
        ({}, "questions"),
        ([NOUL], "questions"),
        ({str(i): NOUL for i in range(401)}, "questions"),
        ({"q": "late?"}, "questions.q"),
        ({"q": {"instructions": "x"}}, "questions.q.type"),
        ({"q": {"type": "box"}}, "questions.q.type"),
        ({"q": {"type": "noul"}}, "questions.q.instructions"),
        ({"q": {"type": "noul", "instructions": 3}}, "questions.q.instructions"),
        ({"q": {**NOUL, "criteria": ["x"]}}, "questions.q.criteria"),
        ({"q": {**NOUL, "criteria": {"true": 3}}}, "questions.q.criteria.true"),
        ({"q": {"type": "choice", "instructions": "x"}}, "questions.q.criteria"),
        ({"q": {**CHOICE, "criteria": {"a": "x"}}}, "questions.q.criteria"),
        ({"q": {**CHOICE, "criteria": {"a": "x", "b": 3}}}, "questions.q.criteria.b"),
        ({"q": {**SCORE, "criteria": {"a": "x", "b": "y"}}}, "questions.q.criteria"),
        ({"q": {**SCORE, "criteria": ["x"]}}, "questions.q.criteria"),
        ({"q": {**SCORE, "criteria": ["x", 3]}}, "questions.q.criteria[1]"),
    ],
)
def test_a_wrong_question_is_named_by_its_id(questions: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        ask(questions)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("state", "param"),
    [(None, "state"), (3, "state"), (True, "state"), ("  ", "state"), ([{"type": "image_url"}], "state[0].type")],
)
def test_a_wrong_state_is_named(state: Any, param: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        ask({"q": NOUL}, state)
    assert raised.value.param == param
