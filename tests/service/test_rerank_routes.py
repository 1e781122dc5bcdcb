"""Which paths there are, which dialect a call is in, and what each path's clients read that the others' do not."""

from typing import Any

import jsonschema
import pytest

from gigarank.service.rerank.presets import PRESETS
from gigarank.service.rerank.routes import DIALECTS, ROUTES, speaker
from gigarank.service.settings import Settings
from rerank_calls import ASKED, DOCUMENTS, Scripted, ask, body_of, call_of, found, work_of

SUPERSET = [
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/reranking",
    "/reranking",
    "/v1/reranks",
    "/reranks",
    "/api/v1/rerank",
    "/openai/v1/rerank",
    "/inference/v1/rerank",
    "/compatible-api/v1/reranks",
    "/v1/v2/rerank",
    "/v1/v1/rerank",
    "/cohere/v2/rerank",
    "/providers/cohere/v2/rerank",
]
PAIRED = {"text_1": "q", "text_2": ["a"]}
OWN: dict[str, tuple[Any, str]] = {
    "/v1/score": (PAIRED, "score"),
    "/score": (PAIRED, "score"),
    "/v1/ranking": (ASKED, "nim"),
    "/ranking": (ASKED, "nim"),
    "/v1/retrieval/nano/reranking": (ASKED, "nim"),
    "/v1/models/rerank": (ASKED, "zeroentropy"),
    "/v1/inference/nano": (ASKED, "deepinfra"),
    "/api/v1/services/rerank/text-rerank/text-rerank": ({"input": ASKED}, "dashscope"),
    "/infinity/rerank": (ASKED, "infinity"),
}
SHARED: list[tuple[str, Any, dict[str, str]]] = [
    ("tei", {"query": "q", "texts": ["a"]}, {}),
    ("nim", {"query": {"text": "q"}, "passages": [{"text": "a"}]}, {}),
    ("mixedbread", {"query": "q", "input": ["a"]}, {}),
    ("dashscope", {"model": "nano", "input": {"query": "q", "documents": ["a"]}, "parameters": {}}, {}),
    ("pinecone", {"query": "q", "documents": [{"text": "a"}]}, {"api-key": "k"}),
    ("pinecone", {"query": "q", "documents": ["a"]}, {"x-pinecone-api-version": "2025-10"}),
    ("superset", {"query": "q", "documents": ["a"]}, {"api-key": "k"}),
    ("superset", {"query": "q", "documents": [{"text": "a"}], "texts": ["b"], "passages": []}, {}),
    ("superset", [], {}),
]


@pytest.mark.parametrize("path", SUPERSET)
def test_the_superset_answers_on_every_path(path: str) -> None:
    body = body_of(ASKED, path)
    assert [result["index"] for result in body["results"]] == [1, 2, 0]


@pytest.mark.parametrize("path", OWN)
def test_every_other_path_is_in_its_own_dialect(path: str) -> None:
    sent, name = OWN[path]
    dialect = next(dialect for dialect in DIALECTS if dialect.name == name)
    body = body_of(sent, path)
    jsonschema.validate(body, dialect.response)
    assert set(dialect.response["required"]) <= set(body)


@pytest.mark.parametrize(("name", "sent", "headers"), SHARED)
def test_on_a_shared_path_the_content_decides(name: str, sent: Any, headers: dict[str, str]) -> None:
    superset = next(dialect for dialect in DIALECTS if dialect.shares)
    for path in ("/v1/rerank", "/rerank", "/v2/rerank", "/v1/reranking"):
        assert speaker(call_of(sent, path, headers=headers), superset).name == name
    claiming = [one for one in DIALECTS if one.claims is not None and one.claims(call_of(sent, "/rerank", headers=headers))]
    assert len(claiming) <= 1


def test_paths_are_there_once_and_second_spellings_are_not_listed() -> None:
    keys = [(route.method, route.path) for route in ROUTES]
    assert len(keys) == len(set(keys))
    listed = {route.path for route in ROUTES if route.listed}
    assert {"/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/info", "/v1/instructions"} <= listed
    assert "/v1/v1/rerank" not in listed
    assert all(dialect.paths[0].listed for dialect in DIALECTS)


@pytest.mark.parametrize(
    ("path", "in_results", "in_data"),
    [
        ("/v1/rerank", True, False),
        ("/rerank", True, False),
        ("/api/v1/rerank", True, False),
        ("/v2/rerank", False, False),
        ("/compatible-api/v1/reranks", False, False),
        ("/inference/v1/rerank", True, True),
    ],
)
def test_documents_come_back_where_clients_read_them_unasked(path: str, in_results: bool, in_data: bool) -> None:
    body = body_of(ASKED, path)
    assert ("document" in body["results"][0]) is in_results
    assert ("document" in body["data"][0]) is in_data


@pytest.mark.parametrize("path", SUPERSET)
def test_documents_come_back_as_asked_an_object_in_results_and_a_string_in_data(path: str) -> None:
    body = body_of({**ASKED, "return_documents": "true"}, path)
    assert body["results"][0]["document"] == {"text": DOCUMENTS[1]}
    assert body["data"][0]["document"] == body["data"][0]["input"] == DOCUMENTS[1]
    body = body_of({**ASKED, "return_documents": False}, path)
    assert "document" not in body["results"][0]
    assert "document" not in body["data"][0]


def test_infinity_gives_documents_as_strings() -> None:
    body = body_of({**ASKED, "return_documents": True}, "/infinity/rerank")
    assert [result["document"] for result in body["results"]] == [DOCUMENTS[1], DOCUMENTS[2], DOCUMENTS[0]]


@pytest.mark.parametrize(
    "names", [("text_1", "text_2"), ("data_1", "data_2"), ("queries", "documents"), ("queries", "items"), ("query", "items")]
)
def test_scores_in_all_spellings(names: tuple[str, str]) -> None:
    query, texts = names
    body = body_of({query: "red planet", texts: DOCUMENTS, "use_activation": False}, "/v1/score")
    assert [datum["score"] for datum in body["data"]] == [-1.0, 3.0, 1.0]
    assert [datum["index"] for datum in body["data"]] == [0, 1, 2]


def test_scores_pair_by_pair_share_neighbouring_queries() -> None:
    work = work_of({"text_1": ["red", "red", "city."], "text_2": DOCUMENTS}, "/v1/score")
    assert [(search.query, len(search.documents)) for search in work.searches] == [("red", 2), ("city.", 1)]
    body = body_of({"text_1": ["city.", "red", "car"], "text_2": "a red car", "use_activation": False}, "/v1/score")
    assert [datum["score"] for datum in body["data"]] == [-1.0, 1.0, 1.0]


def test_pairs_that_do_not_match_are_refused() -> None:
    status, body = ask({"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "/v1/score")
    assert status == 400
    assert body["message"] == "text_2: 2 queries need as many documents, or one, not 3"
    assert (body["error"]["limit"], body["error"]["received"]) == (2, 3)
    assert ask({"text_2": ["c"]}, "/v1/score")[1]["error"]["param"] == "text_1"
    assert ask({"text_1": "c"}, "/v1/score")[1]["error"]["param"] == "text_2"


def test_a_score_knows_neither_top_n_nor_a_threshold() -> None:
    body = body_of({"text_1": "red", "text_2": DOCUMENTS, "top_n": 1, "score_threshold": 0.99}, "/v1/score")
    assert len(body["data"]) == 3


def test_deepinfra_takes_the_paths_model_and_broadcasts_one_query() -> None:
    one = body_of({"model": "ignored", "queries": ["red planet"], "documents": DOCUMENTS}, "/v1/inference/nano")
    each = body_of({"queries": ["red planet"] * 3, "documents": DOCUMENTS}, "/v1/inference/nano")
    assert one["scores"] == each["scores"]
    assert ask({"queries": ["q"], "documents": ["a"]}, "/v1/inference/Qwen/other")[0] == 404


def test_nim_takes_the_paths_model_where_the_body_has_none() -> None:
    sent = {"query": {"text": "q"}, "passages": [{"text": "a"}]}
    assert ask(sent, "/v1/retrieval/nano/reranking")[0] == 200
    assert ask(sent, "/v1/retrieval/org/none/reranking")[0] == 404
    assert ask({**sent, "model": "nano"}, "/v1/retrieval/org/none/reranking")[0] == 200


@pytest.mark.parametrize("path", ["/tei/rerank", "/infinity/rerank", "/pinecone/rerank", "/v1/ranking", "/v1/models/rerank"])
def test_a_dialect_for_one_query_says_so(path: str) -> None:
    status, body = ask({"query": ["a", "b"], "documents": ["c"]}, path)
    assert status == 400
    assert "one query here, not an array of 2; /v1/rerank takes many" in str(body)


def test_errors_are_in_the_style_of_the_path_or_of_the_dialect() -> None:
    assert ask({"query": "q"}, "/v1/rerank")[1]["error"]["code"] == "invalid_value"
    assert ask({"query": "q"}, "/api/v1/rerank")[1]["error"]["code"] == 400
    assert ask({"query": "q", "texts": []}, "/rerank")[1]["error_type"] == "Validation"
    assert isinstance(ask({"query": "q", "texts": []}, "/rerank")[1]["error"], str)
    assert ask({"input": {"query": "q"}}, "/v1/rerank")[1]["code"] == "InvalidParameter"
    assert ask({"query": "q"}, "/compatible-api/v1/reranks")[1]["request_id"] == "req-1"


def test_zeroentropy_says_which_class_it_was() -> None:
    for latency, mode in (("fast", "fast"), ("slow", "slow"), (None, "fast")):
        assert body_of({**ASKED, "latency": latency}, "/v1/models/rerank")["actual_latency_mode"] == mode


def test_every_text_of_tei_has_an_entry_whatever_became_of_it() -> None:
    body = body_of({"query": "q", "texts": ["late", "broken", "a"]}, "/rerank", Scripted())
    assert [entry["index"] for entry in body] == [2, 0, 1]
    assert all(isinstance(entry["score"], float) for entry in body)


def get(path: str, **rest: Any) -> Any:
    route, _ = found(path, "GET")
    coroutine = route.endpoint(call_of({}, path, **rest))
    with pytest.raises(StopIteration) as stopped:  # it awaits nothing
        coroutine.__await__().__next__()
    assert route.response is not None
    jsonschema.validate(stopped.value.value.body, route.response)
    return stopped.value.value.body


@pytest.mark.parametrize("path", ["/info", "/tei/info"])
def test_info_is_what_teis_clients_ask(path: str) -> None:
    body = get(path, settings=Settings(max_documents=77))
    assert "reranker" in body["model_type"]
    assert (body["model_id"], body["max_input_length"], body["max_client_batch_size"]) == ("fake", 32_768, 77)


def test_the_instructions_are_listed_by_the_names_that_requests_take() -> None:
    data = get("/v1/instructions")["data"]
    assert [one["name"] for one in data] == list(PRESETS)
    for one in data:
        (search,) = work_of({**ASKED, "instruction": one["use"]}).searches
        assert search.instruction == one["instruction"]


@pytest.mark.parametrize("path", ["/pinecone/rerank", "/api/v1/services/rerank/text-rerank/text-rerank"])
def test_parameters_are_an_object_where_the_dialect_has_them(path: str) -> None:
    status, body = ask({**ASKED, "parameters": ["top_n"]}, path)
    assert (status, body["message"]) == (400, "parameters: must be an object, not 'an array'")
    assert ask({**ASKED, "parameters": None}, path)[0] == 200
