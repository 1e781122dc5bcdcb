"""From a request to an answer: limits, models, order, cuts, marks and warnings, over the service's own fake."""

from typing import Any

import pytest

from gigarank.engine.work import Search
from gigarank.errors import InvalidInput, RequestTooLarge, ShuttingDown, UnknownModel
from gigarank.service.backend import Urgency
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings
from gigarank.types import Windows
from rerank_calls import ASKED, DOCUMENTS, ORDER, RECEIVED, Scripted, answer_of, body_of, order, work_of


def asked(documents: list[Any], **rest: Any) -> dict[str, Any]:
    return {"query": "red planet", "documents": documents, **rest}


def test_results_come_best_first_with_everything_about_them() -> None:
    body = body_of(ASKED)
    assert order(body) == ORDER
    best = body["results"][0]
    assert best.pop("relevance_score") == best["score"] == pytest.approx(0.9526, abs=1e-4)
    assert best == {"index": 1, "score": best["score"], "logit": 3.0, "tokens": 5, "truncated": False} | {
        "document": {"text": DOCUMENTS[1]}
    }


def test_probabilities_that_saturate_keep_the_order_of_their_logits_and_ties_that_of_the_request() -> None:
    backend = Scripted({"a": 50.0, "b": 60.0, "c": 50.0, "d": 60.0})
    assert order(body_of(asked(["a", "b", "c", "d"]), backend=backend)) == [1, 3, 0, 2]


@pytest.mark.parametrize(("top_n", "length"), [(1, 1), (2, 2), (0, 3), (None, 3), (-1, 3), (99, 3)])
def test_top_n_cuts_the_answer_and_not_the_work(top_n: int | None, length: int) -> None:
    answer = answer_of({**ASKED, "top_n": top_n})
    assert order(answer.body) == ORDER[:length]
    assert len(answer.body["data"]) == length
    assert answer.documents == 3


def test_a_threshold_is_of_the_probability_even_where_scores_are_raw() -> None:
    for extra in ({}, {"raw_scores": True}):
        assert order(body_of({**ASKED, "score_threshold": 0.73, **extra})) == [1, 2]
    assert order(body_of({**ASKED, "score_threshold": 0.99})) == []
    assert order(body_of({**ASKED, "score_threshold": 0.73, "top_n": 1})) == [1]


def test_raw_scores_are_the_logits() -> None:
    best = body_of({**ASKED, "raw_scores": True})["results"][0]
    assert best["relevance_score"] == best["score"] == best["logit"] == 3.0


def test_an_empty_document_is_scored_and_an_empty_object_too() -> None:
    body = body_of(asked(["", {}, "red planet"]))
    assert order(body) == [2, 0, 1]
    assert [result.get("scored", True) for result in body["results"]] == [True] * 3


def test_what_was_not_scored_in_time_stands_last_in_the_requests_order_with_a_number() -> None:
    body = body_of(asked(["late", "a", "late", "red"], deadline_ms=5))
    assert order(body) == [3, 1, 0, 2]
    for result in body["results"][2:]:
        assert (result["relevance_score"], result["score"], result["logit"], result["scored"]) == (0.0, 0.0, None, False)
    assert body["meta"]["warnings"] == [
        "documents that were not scored before the deadline and come last, with a score of 0 (2): 0, 2"
    ]


def test_one_documents_problem_leaves_the_others_alone() -> None:
    body = body_of(asked(["broken", None, "red"]))
    assert order(body) == [2, 0, 1]
    errors = [result["error"] for result in body["results"][1:]]
    assert [error["param"] for error in errors] == ["documents[0]", "documents[1]"]
    assert errors[1]["message"] == "documents[1]: must be a string or an object, not None"
    assert (errors[1]["limit"], errors[1]["received"]) == ("a string or an object", None)
    assert "(2): 0, 1" in body["meta"]["warnings"][0]


def test_outcomes_keep_their_places_around_documents_that_the_model_never_saw() -> None:
    work = work_of(asked([None, "a", 5, "red"]))
    assert work.searches == (Search("red planet", ("a", "red"), None),)
    assert order(body_of(asked([None, "a", 5, "red planet"]))) == [3, 1, 0, 2]


@pytest.mark.parametrize("documents", [["broken", "red"], [None, "red"]])
def test_one_documents_problem_is_the_requests_where_that_was_asked(documents: list[Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        body_of(asked(documents, on_error="fail"))
    assert caught.value.param == "documents[0]"


@pytest.mark.parametrize("documents", [["broken", "broken"], [None, 5], ["broken", None]])
def test_where_no_document_came_through_the_request_fails(documents: list[Any]) -> None:
    with pytest.raises(InvalidInput, match=r"documents\[0\]"):
        body_of(asked(documents))


def test_a_threshold_leaves_out_what_has_no_score() -> None:
    body = body_of(asked(["late", "broken", "red planet"], score_threshold=0))
    assert order(body) == [2]
    assert len(body["meta"]["warnings"]) == 2


def test_cuts_and_windows_are_told_of_by_result_and_in_warnings() -> None:
    body = body_of(asked(["cut", "wide", "red"]))
    by_index = {result["index"]: result for result in body["results"]}
    assert by_index[0]["truncated"]
    assert by_index[1]["window"] == {"index": 1, "count": 3, "start": 10, "stop": 30}
    assert "window" not in by_index[2]
    assert [warning[-6:] for warning in body["meta"]["warnings"]] == ["(1): 0", "(1): 1"]


def test_a_warning_lists_ten_documents_and_counts_the_rest() -> None:
    (warning,) = body_of(asked(["cut"] * 12))["meta"]["warnings"]
    assert warning.endswith("(12): 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...")


def test_many_queries_have_results_each_and_are_paid_once() -> None:
    backend = Scripted()
    body = body_of({"query": ["red planet", "city."], "documents": DOCUMENTS, "top_n": 2}, backend=backend)
    assert [some["query_index"] for some in body["results"]] == [0, 1]
    assert [order(some) for some in body["results"]] == [[1, 2], [0, 1]]
    assert "data" not in body
    assert body["usage"]["search_units"] == 2
    (work,) = backend.works
    assert [search.query for search in work.searches] == ["red planet", "city."]


def test_a_query_alone_in_an_array_is_answered_as_many() -> None:
    body = body_of({"queries": ["red planet"], "documents": DOCUMENTS})
    assert [order(some) for some in body["results"]] == [ORDER]


def test_warnings_of_many_queries_name_the_query() -> None:
    body = body_of({"query": ["a", "b"], "documents": ["red", "cut"]})
    assert body["meta"]["warnings"][0].endswith("(2): 0:1, 1:1")


@pytest.mark.parametrize(("count", "units"), [(1, 1), (100, 1), (101, 2)])
def test_search_units_are_hundreds_of_documents(count: int, units: int) -> None:
    body = body_of(asked(["a"] * count))
    assert body["meta"]["billed_units"]["search_units"] == body["usage"]["search_units"] == units


def test_usage_is_what_the_backend_computed() -> None:
    answer = answer_of(ASKED)
    usage, meta = answer.body["usage"], answer.body["meta"]
    assert usage["total_tokens"] == usage["prompt_tokens"] == meta["tokens"]["input_tokens"] == answer.tokens
    assert answer.tokens == 2 + 12 + 3 * 9  # the query once, the documents once, the template's end a document
    assert usage["completion_tokens"] == 0


def test_too_many_documents_name_the_limit_and_what_came() -> None:
    settings = Settings(max_documents=3)
    assert len(body_of(asked(["a"] * 3), settings=settings)["results"]) == 3
    for body in (asked(["a"] * 4), {"query": ["q", "r"], "documents": ["a", "b"]}):
        with pytest.raises(RequestTooLarge, match=r"^documents: at most 3 a request, not 4") as caught:
            body_of(body, settings=settings)
        assert (caught.value.param, caught.value.limit, caught.value.received) == ("documents", 3, 4)


def test_the_model_by_name_by_alias_or_by_default() -> None:
    for model in ("fake", "nano", "", None):
        answer = answer_of({**ASKED, "model": model})
        assert answer.model == answer.body["model"] == "fake"
    assert answer_of(ASKED, settings=Settings(default_model="nano")).model == "fake"


def test_an_unknown_model_lists_the_ones_there_are() -> None:
    with pytest.raises(UnknownModel, match=r"model 'rerank-v3\.5' not found.* This server has: fake$") as caught:
        body_of({**ASKED, "model": "rerank-v3.5"})
    assert caught.value.param == "model"


def test_an_embedder_says_that_it_is_one() -> None:
    with pytest.raises(InvalidInput, match="fake-embedder is an embedder, not a reranker; it answers on /v1/embeddings"):
        body_of({**ASKED, "model": "fake-embedder"})


def test_the_backend_gets_what_was_asked_and_the_models_own_name() -> None:
    extra = {"model": "nano", "instruction": "I", "priority": 3, "service_tier": "flex", "deadline_ms": 500}
    limits = {"max_tokens_per_doc": 7, "max_tokens_per_query": 5, "truncate": False, "max_chunks_per_doc": 4}
    backend = Scripted()
    body = body_of({**ASKED, **extra, **limits}, backend=backend, urgency=Urgency(wait_s=9.0))
    (work,) = backend.works
    assert work.searches == (Search("red planet", tuple(DOCUMENTS), "I"),)
    assert (work.priority, work.tier, work.deadline) == (3, "batch", RECEIVED + 0.5)
    assert (work.max_document_tokens, work.max_query_tokens, work.truncate) == (7, 5, False)
    assert work.windows == Windows(256, 4)
    assert (backend.models_asked, backend.waits) == (["fake"], [9.0])
    assert body["usage"]["service_tier"] == "batch"


def test_what_the_backend_raises_goes_on() -> None:
    backend = FakeBackend()
    backend.open = False
    with pytest.raises(ShuttingDown):
        body_of(ASKED, backend=backend)


def test_the_first_stages_scores_order_the_results_and_leave_the_models_own_as_they_are() -> None:
    plain = {result["index"]: result for result in body_of(ASKED)["results"]}
    body = body_of({**ASKED, "first_stage_scores": [9, 1, "2"], "first_stage_weight": 100})
    assert order(body) == [0, 2, 1]
    fused = [result.pop("fused") for result in body["results"]]
    assert fused == sorted(fused, reverse=True)
    assert {result["index"]: result for result in body["results"]} == plain
    assert order(body_of({**ASKED, "first_stage_scores": [9, 1, 2], "first_stage_weight": 0})) == ORDER


def test_what_was_not_scored_has_no_fused_score_and_stands_last() -> None:
    body = body_of(asked(["late", "a", "red", 5], deadline_ms=5, first_stage_scores=[99, 0, 1, 98]))
    assert order(body) == [2, 1, 0, 3]
    assert [result.get("fused") for result in body["results"]] == [pytest.approx(2.0), pytest.approx(-2.0), None, None]


@pytest.mark.parametrize(
    ("extra", "message", "param"),
    [
        ({"first_stage_scores": [1, 2]}, "one a document is needed, 3 in all, not 2", "first_stage_scores"),
        ({"first_stage_scores": 5}, "must be an array of numbers, not 5", "first_stage_scores"),
        ({"first_stage_scores": [1, None, 2]}, "must be a number from -1e9 to 1e9, not None", "first_stage_scores[1]"),
        (
            {"first_stage_scores": [1, 2, 3], "first_stage_weight": -1},
            "must be a number from 0 on, not -1",
            "first_stage_weight",
        ),
        ({"first_stage_scores": [1, 2, 3], "query": ["a", "b"]}, "for one query, not for 2", "first_stage_scores"),
    ],
)
def test_a_first_stage_that_cannot_be_is_refused(extra: dict[str, Any], message: str, param: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        body_of({**ASKED, **extra})
    assert caught.value.param == param
