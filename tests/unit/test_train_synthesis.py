"""Queries for documents from a chat model behind real HTTP: two questions each, resumed, retried, filtered by similarity."""

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat_server import ChatServer, chat_server, passage_of, usual
from gigarank.errors import BadFile, InvalidInput, ModelUnavailable
from gigarank.training.chat import Chat, Endpoint, NoAnswer
from gigarank.training.mining import Vectors
from gigarank.training.rows import Row
from gigarank.training.synthesis import SynthesisOptions, SynthesisReport, rows_of, synthesise
from gigarank.training.synthesis_prompts import (
    CHARACTERS,
    DIFFICULTIES,
    QUESTION_TYPES,
    Configuration,
    configuration_prompt,
    query_prompt,
    read_configuration,
    read_query,
)

DOCUMENTS = ["leaves make sugar", "roots drink water", "seeds wait for spring"]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def endpoint(server: ChatServer, **settings: Any) -> Endpoint:
    return Endpoint(server.url, "tiny", **{"first_wait_s": 0.0, **settings})


def run(server: ChatServer, journal: Path, documents: Sequence[str] = DOCUMENTS, **options: Any) -> SynthesisReport:
    report = SynthesisReport()
    with Chat(endpoint(server)) as chat:
        synthesise(documents, chat, journal, SynthesisOptions(**options), report)
    return report


def lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_every_document_gets_a_query_by_two_questions(server: ChatServer, tmp_path: Path) -> None:
    report = run(server, tmp_path / "journal", concurrency=1)
    assert (report.asked, report.known, report.failed) == (3, 0, 0)
    assert [passage_of(prompt) for prompt in server.prompts] == [text for text in DOCUMENTS for _ in range(2)]
    assert ["**Requirement**" in prompt for prompt in server.prompts] == [False, True] * 3
    first = lines(tmp_path / "journal")[0]
    assert first["query"] == "what about leaves make sugar"
    assert (first["type"], first["difficulty"], first["model"]) == ("keywords", "phd", "tiny")
    assert first["character"] in CHARACTERS


def test_what_the_first_answer_chose_is_what_the_second_question_asks_for(server: ChatServer, tmp_path: Path) -> None:
    run(server, tmp_path / "journal", DOCUMENTS[:1], languages=("Suomi",), words=(17,))
    second = server.prompts[1]
    assert lines(tmp_path / "journal")[0]["character"] in second
    assert "Type: keywords" in second
    assert "Difficulty: phd" in second
    assert "about 17 words" in second
    assert "Language: Suomi" in second


def test_the_request_is_as_the_protocol_has_it(server: ChatServer) -> None:
    with Chat(endpoint(server, key="secret", temperature=0.5, max_tokens=7)) as chat:
        chat.ask(configuration_prompt("a text", ["somebody"]), 3)
    prompt = server.prompts[0]
    message = [{"role": "user", "content": prompt}]
    assert server.asked == [{"model": "tiny", "messages": message, "temperature": 0.5, "max_tokens": 7, "seed": 3}]
    assert server.keys == ["Bearer secret"]
    assert "secret" not in repr(endpoint(server, key="secret"))


def test_rows_have_the_document_as_their_positive(server: ChatServer, tmp_path: Path) -> None:
    options = SynthesisOptions(instruction="find it", languages=("German",))
    report = run(server, tmp_path / "journal", languages=("German",))
    rows = list(rows_of(DOCUMENTS, tmp_path / "journal", options, report, None, model="tiny"))
    assert rows[1] == Row("what about " + DOCUMENTS[1], (DOCUMENTS[1],), (1.0,), None, "find it", "synthetic", "German")
    assert (report.kept, report.dropped) == (3, 0)


def test_a_run_goes_on_where_it_was(server: ChatServer, tmp_path: Path) -> None:
    run(server, tmp_path / "journal", DOCUMENTS[:2])
    report = run(server, tmp_path / "journal", [*DOCUMENTS, DOCUMENTS[0]])
    assert (report.known, report.asked) == (2, 1)
    assert len(server.asked) == 6
    assert len(lines(tmp_path / "journal")) == 3


def test_another_language_or_model_is_asked_anew_and_its_rows_are_its_own(server: ChatServer, tmp_path: Path) -> None:
    journal, report = tmp_path / "journal", SynthesisReport()
    run(server, journal)
    assert run(server, journal, languages=("German",)).asked == 3
    with Chat(Endpoint(server.url, "other", first_wait_s=0.0)) as chat:
        synthesise(DOCUMENTS, chat, journal, SynthesisOptions(), report)
    assert report.asked == 3
    german = SynthesisOptions(languages=("German",))
    assert {row.language for row in rows_of(DOCUMENTS, journal, german, report, None, model="tiny")} == {"German"}
    assert {row.language for row in rows_of(DOCUMENTS, journal, SynthesisOptions(), report, None, model="tiny")} == {"English"}
    assert list(rows_of(DOCUMENTS, journal, german, report, None, model="other")) == []


def test_a_line_that_a_killed_run_left_torn_is_asked_again(server: ChatServer, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    run(server, journal)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    report = run(server, journal)
    assert (report.known, report.asked) == (2, 1)
    assert journal.read_bytes() == whole  # the same seeds, the same answers


def test_a_broken_journal_is_named_with_its_line(server: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text('{"document": "x", "query": "y"}\nnot json\n')
    with pytest.raises(BadFile, match="journal:2: not JSON"):
        run(server, tmp_path / "journal")


def test_draws_follow_from_seed_and_document_not_from_order(server: ChatServer, tmp_path: Path) -> None:
    options: dict[str, Any] = {"languages": ("A", "B", "C", "D", "E"), "words": tuple(range(50))}
    run(server, tmp_path / "one", **options)
    run(server, tmp_path / "two", DOCUMENTS[::-1], **options)
    run(server, tmp_path / "three", seed=1, **options)
    one, two, three = ({line["document"]: line for line in lines(tmp_path / name)} for name in ("one", "two", "three"))
    assert one == two
    assert [line["words"] for line in one.values()] != [line["words"] for line in three.values()]


def test_questions_run_side_by_side_up_to_the_limit(server: ChatServer, tmp_path: Path) -> None:
    server.delay_s = 0.05
    run(server, tmp_path / "journal", [f"document {number}" for number in range(9)], concurrency=3)
    assert server.busiest == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_asked_again(server: ChatServer, status: int) -> None:
    server.failures = [(status, "busy", {})] * 2
    with Chat(endpoint(server)) as chat:
        assert chat.ask(configuration_prompt("x", ["y"]), 5)["Character"] == "y"
    assert [body["seed"] for body in server.asked] == [5, 6, 7]


def test_waits_double_or_are_what_the_server_asks_for(server: ChatServer) -> None:
    server.failures = [(503, "", {}), (429, "", {"retry-after": "7"}), (503, "", {"retry-after": "soon"}), (503, "", {})]
    waits: list[float] = []
    with Chat(endpoint(server, first_wait_s=1.0), sleep=waits.append) as chat:
        chat.ask(configuration_prompt("x", ["y"]), 0)
    assert [1 <= wait / base <= 1.25 for wait, base in zip(waits, [1, 7, 4, 8], strict=True)] == [True] * 4


@pytest.mark.parametrize(("status", "hint"), [(401, "is the key in the environment"), (404, "status 404"), (400, "status 400")])
def test_a_refusal_ends_the_run_at_once(server: ChatServer, tmp_path: Path, status: int, hint: str) -> None:
    server.failures = [(status, "no", {})]
    with pytest.raises(ModelUnavailable, match=hint):
        run(server, tmp_path / "journal", concurrency=1)
    assert len(server.asked) == 1


def test_an_answer_that_stays_bad_is_counted_and_asked_for_in_the_next_run(server: ChatServer, tmp_path: Path) -> None:
    bad = DOCUMENTS[1]
    server.answer = lambda prompt: "I cannot" if passage_of(prompt) == bad else usual(prompt)
    report = run(server, tmp_path / "journal")
    assert (report.asked, report.failed) == (2, 1)
    assert "5 tries, the last: the model's answer holds no JSON object: 'I cannot'" in report.reason
    server.answer = usual
    assert run(server, tmp_path / "journal").asked == 1


def test_an_answer_outside_what_was_offered_is_asked_for_once_more(server: ChatServer, tmp_path: Path) -> None:
    answers = iter(['{"Character": "a pirate", "Question_Type": "keywords", "Difficulty": "phd"}'])
    server.answer = lambda prompt: next(answers, None) or usual(prompt)
    assert run(server, tmp_path / "journal", DOCUMENTS[:1]).asked == 1
    server.answer = lambda prompt: '{"Character": "a pirate", "Question_Type": "keywords", "Difficulty": "phd"}'
    report = run(server, tmp_path / "other", DOCUMENTS[:1])
    assert "Character 'a pirate' is not among those offered" in report.reason


def test_a_run_without_any_success_ends(server: ChatServer, tmp_path: Path) -> None:
    server.answer = lambda prompt: "no"
    with pytest.raises(ModelUnavailable, match="4 documents in a row got no query"):
        run(server, tmp_path / "journal", [f"document {n}" for n in range(50)], most_failures=4, concurrency=2)
    assert len(server.asked) <= 5 * 8


def test_an_endpoint_that_nobody_serves_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with (
            Chat(Endpoint(url, "x", first_wait_s=0.0, tries=2)) as chat,
            pytest.raises(NoAnswer, match=r"2 tries.*ConnectError"),
        ):
            chat.ask("x", 0)
    with pytest.raises(InvalidInput, match="url: must begin with http"):
        Chat(Endpoint("localhost:80", "x"))


@pytest.mark.parametrize("content", ["not json", {"choices": []}, {"choices": [{"message": {}}]}, [1]])
def test_an_answer_that_is_no_completion_is_said(server: ChatServer, content: Any) -> None:
    server.failures = [(200, content, {})] * 2
    with Chat(endpoint(server, tries=2)) as chat, pytest.raises(NoAnswer, match="no chat completion came back"):
        chat.ask(configuration_prompt("x", ["y"]), 0)


class Cosines:
    """Vectors whose cosine with a query is what is said for the document."""

    def __init__(self, **cosines: float) -> None:
        self.cosines = cosines

    def embed(
        self, queries: Sequence[str] | None = None, documents: Sequence[str] | None = None, *, task: str | None = None
    ) -> Vectors:
        if queries is not None:
            return np.array([[1.0, 0.0]], dtype=np.float32)
        found = [self.cosines[document.split()[0]] for document in documents or ()]
        return np.array([[cosine, (1 - cosine**2) ** 0.5] for cosine in found], dtype=np.float32)


def test_only_queries_near_their_document_become_rows(server: ChatServer, tmp_path: Path) -> None:
    report = run(server, tmp_path / "journal")
    near = Cosines(leaves=0.71, roots=0.7, seeds=0.2)
    rows = list(rows_of(DOCUMENTS, tmp_path / "journal", SynthesisOptions(threshold=0.7001), report, near, model="tiny"))
    assert [row.documents for row in rows] == [(DOCUMENTS[0],)]
    assert (report.kept, report.dropped) == (1, 2)
    assert report.cosines == pytest.approx([0.71, 0.7, 0.2], abs=1e-6)


def test_a_passage_of_any_text_stands_in_both_prompts() -> None:
    passage = 'with {braces}, "quotes" and\n**Passage** in it'
    assert passage in configuration_prompt(passage, ["x"])
    assert passage in query_prompt(passage, Configuration("x", "summary", "phd"), 5, "English")


def test_prompts_offer_all_options() -> None:
    prompt = configuration_prompt("x", ["somebody", "another"])
    for option in (*QUESTION_TYPES, *DIFFICULTIES, "somebody", "another"):
        assert f"- {option}" in prompt


@pytest.mark.parametrize("field", ["Character", "Question_Type", "Difficulty"])
def test_a_configuration_is_one_of_those_offered(field: str) -> None:
    answer = {"Character": "x", "Question_Type": "summary", "Difficulty": "phd"}
    assert read_configuration(answer, ["x"]) == Configuration("x", "summary", "phd")
    with pytest.raises(ValueError, match=f"{field} 'other' is not among"):
        read_configuration(answer | {field: "other"}, ["x"])


def test_a_query_is_a_text_on_one_line() -> None:
    assert read_query({"Query": " a\n b "}) == "a b"
    for answer in ({}, {"Query": ""}, {"Query": 3}):
        with pytest.raises(ValueError, match="no query in"):
            read_query(answer)


def test_options_that_leave_nothing_are_refused() -> None:
    nothing: tuple[Any, ...] = ()
    with pytest.raises(InvalidInput, match="languages: at least one"):
        SynthesisOptions(languages=nothing)
    with pytest.raises(InvalidInput, match="words: at least one"):
        SynthesisOptions(words=nothing)
    with pytest.raises(InvalidInput, match="characters: at least one"):
        SynthesisOptions(characters=nothing)
    with pytest.raises(InvalidInput, match="concurrency: at least 1"):
        SynthesisOptions(concurrency=0)
