"""What is an answer of another server and what is none, over real HTTP; and which addresses can be given."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

import upstream_server as servers
from gigarank.errors import GigarankError, InvalidInput, WorkerFailed
from gigarank.service.upstream.addresses import Upstreams, parse_upstreams
from gigarank.service.upstream.client import (
    Fault,
    RerankClient,
    VllmClient,
    rerank_question,
    vllm_question,
)
from upstream_server import Scorer, changed, closing, hanging, saying, scorer, status

IDS = [[5, 6, 7], [8, 9], [1]]
CANARY = vllm_question([[3, 3, 3]])
TEXTS = ("red planet", ["a red dwarf", "the red planet", "cake"])


def vllm(state: Scorer, act: str = "ask", timeout_s: float = 60.0, **faults: Any) -> Any:
    async def work() -> Any:
        client = VllmClient(state.url, "secret", timeout_s)
        try:
            await client.try_out("tiny", CANARY)
            state.faults = list(faults.get("faults", ()))
            return await (client.ask("tiny", vllm_question(IDS)) if act == "ask" else client.look())
        finally:
            await client.close()

    return asyncio.run(work())


def rerank(state: Scorer, instruction: str | None = None) -> list[float]:
    async def work() -> list[float]:
        client = RerankClient(f"{state.url}/v1/rerank", "", 60.0)
        try:
            return await client.ask("theirs", rerank_question(*TEXTS, instruction, 9))
        finally:
            await client.close()

    return asyncio.run(work())


def test_vllm_is_sent_the_ids_as_they_are_and_asked_for_raw_logits() -> None:
    with scorer() as state:
        assert vllm(state) == [servers.by_sum(ids) for ids in IDS]
    (asked,) = state.asked
    assert asked == {"input": IDS, "model": "tiny", "use_activation": False, "add_special_tokens": False}
    assert set(state.keys) == {"Bearer secret"}


def test_vllm_lists_its_models_with_their_longest_prompts() -> None:
    with scorer(models={"a": 512, "b": 0}) as state:
        assert vllm(state, "look") == {"a": 512, "b": 0}


@pytest.mark.parametrize(
    ("body", "what"),
    [(b'{"data": []}', "lists no models"), (b'{"data": [1, {}]}', "lists no models"), (b"[]", "no object"), (b"<", "no JSON")],
)
def test_a_list_of_models_that_is_none_is_a_fault(body: bytes, what: str) -> None:
    async def look(url: str) -> None:
        client = VllmClient(url, "", 60.0)
        try:
            await client.look()
        finally:
            await client.close()

    with scorer(broken=saying(body)) as state, pytest.raises(Fault, match=what):
        asyncio.run(look(state.url))


def at(place: int, change: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda told: change(told["data"][place])


SPOILT = {
    "no JSON": (saying(b"\xff\xfe"), "no JSON"),
    "JSON cut": (saying(b'{"data": [{"ind'), "no JSON"),
    "a list": (saying(b"[1, 2, 3]"), "no object"),
    "no data": (saying(b"{}"), "gives 0 scores for 3 texts"),
    "one too few": (changed(lambda told: told["data"].pop()), "gives 2 scores for 3 texts"),
    "one too many": (changed(lambda told: told["data"].append(told["data"][0])), "gives 4 scores"),
    "one twice": (changed(at(2, lambda one: one.update(index=0))), "some of them twice"),
    "an index that is none": (changed(at(0, lambda one: one.update(index="0"))), "some of them twice"),
    "other tokens": (changed(lambda told: told["usage"].update(prompt_tokens=7)), "has read 7 tokens of the 6"),
    "no usage": (changed(lambda told: told.update(usage=None)), "has read None tokens"),
    "two classes": (changed(at(1, lambda one: one.update(probs=[1.0, 2.0]))), "several classes"),
    "no classes": (changed(at(1, lambda one: one.update(probs=None))), "several classes"),
    "text for a number": (changed(at(1, lambda one: one.update(probs=["0.5"]))), "gives str where a score"),
    "true for a number": (changed(at(1, lambda one: one.update(probs=[True]))), "gives bool where a score"),
    "500": (status(500), "answered 500"),
    "no key": (status(401), "answered 401"),
    "no such route": (status(404), "answered 404"),
    "a redirect": (status(302), "answered 302"),
    "the connection closed": (closing, "could not be asked: RemoteProtocolError"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_no_answer_is_a_fault_that_says_what_it_was(name: str) -> None:
    fault, said = SPOILT[name]
    with scorer() as state, pytest.raises(Fault, match=said) as caught:
        vllm(state, faults=[fault])
    assert not caught.value.busy
    assert caught.value.reason.startswith(state.url)


def test_a_server_that_hangs_is_left_after_the_timeout() -> None:
    with scorer() as state, pytest.raises(Fault, match="did not answer in time") as caught:
        vllm(state, timeout_s=0.3, faults=[hanging])
    assert not caught.value.busy


def test_a_server_that_is_not_there_is_a_fault() -> None:
    with scorer() as state:
        gone = state.url
    with pytest.raises(Fault, match="could not be asked: ConnectError"):
        vllm(Scorer(gone))


@pytest.mark.parametrize("code", [429, 503, 408])
def test_a_server_that_says_it_is_busy_is_well(code: int) -> None:
    with scorer() as state, pytest.raises(Fault, match=f"busy: it answered {code}") as caught:
        vllm(state, faults=[status(code)])
    assert caught.value.busy


def test_what_every_server_would_refuse_is_no_fault_of_this_one() -> None:
    said = b'{"error": {"message": "Token id 30000 is out of vocabulary"}}'
    with scorer() as state, pytest.raises(WorkerFailed, match="refused what it was sent with 400: Token id 30000") as caught:
        vllm(state, faults=[status(400, said)])
    assert caught.value.received == 400
    for body in (b"<html>", b"[]", b'{"error": "x"}'):
        with scorer() as state, pytest.raises(WorkerFailed, match="422: no reason given"):
            vllm(state, faults=[status(422, body)])


@pytest.mark.parametrize("told", [None, math.nan, math.inf])
def test_a_number_that_is_none_is_told_as_it_is(told: float | None) -> None:
    """Whose fault it is, the text's or the server's, is not seen here."""
    with scorer() as state:
        found = vllm(state, faults=[changed(at(1, lambda one: one.update(probs=[told])))])
    assert [math.isfinite(number) for number in found] == [True, False, True]


def test_a_logit_that_no_model_gives_is_found_out_when_the_server_is_tried() -> None:
    """Also where e to its power is more than a double holds."""
    with scorer() as state:
        state.broken = changed(lambda told: told["data"][0].update(probs=[-1e4]))
        with pytest.raises(Fault, match=r"gives -10000\.0 where the logit should be"):
            vllm(state)


def test_a_server_that_gives_probabilities_for_logits_is_found_out_when_it_is_tried() -> None:
    """As one that knows no use_activation: all it says would look like an answer."""
    with scorer() as state:
        activated = changed(lambda told: told["data"][0].update(probs=[0.9]))
        state.broken = activated
        with pytest.raises(Fault, match=r"gives 0\.9 where the logit should be and 0\.9 for its probability"):
            vllm(state)
        state.broken = changed(lambda told: told["data"][0].update(probs=[None]))
        with pytest.raises(Fault, match="gives nan where the logit"):
            vllm(state)


def test_a_rerank_server_is_asked_in_coheres_way_and_its_probabilities_become_logits() -> None:
    with scorer(logit=servers.by_words) as state:
        assert rerank(state) == pytest.approx([1.0, 3.0, -1.0])
        assert rerank(state, "Find it") == pytest.approx([1.0, 3.0, -1.0])
    query, documents = TEXTS
    usual = {"query": query, "documents": documents, "return_documents": False, "model": "theirs", "top_n": 3}
    assert state.asked == [usual, usual | {"instruction": "Find it"}]


def test_a_list_under_data_is_read_too() -> None:
    def renamed(told: dict[str, Any]) -> None:
        told["data"] = told.pop("results")

    with scorer(logit=servers.by_words, faults=[changed(renamed)]) as state:
        assert rerank(state) == pytest.approx([1.0, 3.0, -1.0])


def test_probabilities_of_0_and_1_have_the_largest_finite_logits() -> None:
    def saturated(told: dict[str, Any]) -> None:
        for one in told["results"]:
            one["relevance_score"] = (1, 0.0, 0.5)[one["index"]]

    with scorer(logit=servers.by_words, faults=[changed(saturated)]) as state:
        assert rerank(state) == pytest.approx([36.7368, -36.7368, 0.0], abs=1e-4)


@pytest.mark.parametrize(("score", "said"), [(1.5, "from 0 to 1"), (-0.1, "from 0 to 1"), (None, "NoneType"), ("1", "str")])
def test_a_relevance_that_is_none_is_a_fault(score: Any, said: str) -> None:
    spoilt = changed(lambda told: told["results"][0].update(relevance_score=score))
    with scorer(logit=servers.by_words, faults=[spoilt]) as state, pytest.raises(Fault, match=said):
        rerank(state)


def test_addresses() -> None:
    assert parse_upstreams("vllm=http://a:8000/, https://b") == Upstreams("vllm", ("http://a:8000", "https://b"))
    assert parse_upstreams("rerank=http://a:8000,https://b/v2/rerank") == Upstreams(
        "rerank", ("http://a:8000/v1/rerank", "https://b/v2/rerank")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tgi=http://a", "'tgi' is none of vllm, rerank"),
        ("vllm=", "'' is no address"),
        ("vllm=a:8000", "'a:8000' is no address"),
        ("vllm=ftp://a", "is no address"),
        ("vllm=http://a:99999", "is no address"),
        ("vllm=http://a?x=1", "is no address"),
        ("vllm=http://a,http://a/", "http://a stands twice"),
        ("vllm=http://me:secret@", "'http://' is no address"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse_upstreams(text)
    assert caught.value.param == "backend" and "secret" not in caught.value.message


def test_a_password_in_an_address_is_in_no_message() -> None:
    with scorer() as state:
        gone = state.url.replace("http://", "http://me:secret@")

    async def look() -> None:
        await VllmClient(gone, "", 1.0).look()

    with pytest.raises(Fault) as caught:
        asyncio.run(look())
    assert "secret" not in caught.value.reason and not isinstance(caught.value, GigarankError)
