"""Which replica comes first, by the tokens that were sent and not answered yet; and Ray Serve's hooks around that."""

import asyncio
from array import array
from types import SimpleNamespace
from typing import Any

import pytest

from gigarank.engine.portion import Portion

pytest.importorskip("ray")
from gigarank.cluster.routing import MOST_EARLY, OnTheWay, TokensRouter, tokens_of

PORTION = Portion((array("I", range(30)), array("I", range(12))), (None, 0), (1,))


def test_the_fewest_tokens_come_first() -> None:
    way = OnTheWay()
    way.send("r1", "a", 500)
    way.send("r2", "b", 200)
    way.send("r3", "b", 200)
    assert way.order(["a", "b", "c"]) == ["c", "b", "a"]
    way.send("r4", "c", 450)
    assert way.order(["a", "b", "c"])[0] == "b"


def test_two_that_are_asked_for_before_either_is_sent_do_not_meet() -> None:
    way = OnTheWay()
    firsts = [way.order(["a", "b", "c"])[0] for _ in range(6)]
    assert sorted(firsts[:3]) == sorted(firsts[3:]) == ["a", "b", "c"]


def test_what_is_answered_weighs_nothing_and_only_once() -> None:
    way = OnTheWay()
    way.send("r1", "a", 500)
    way.send("r2", "b", 100)
    for _ in range(2):
        way.end("r1", "a")
    way.end("never sent", "a")
    assert way.order(["a", "b"]) == ["a", "b"]
    way.send("r3", "a", 90)
    assert way.order(["a", "b"]) == ["a", "b"]
    way.send("r4", "a", 20)
    assert way.order(["a", "b"]) == ["b", "a"]


def test_an_end_that_is_told_before_the_sending_leaves_no_weight() -> None:
    """As Ray Serve does where the answer comes with the replica's word that it takes the request."""
    way = OnTheWay()
    for number in range(100):
        way.end(f"r{number}", "a")
        way.send(f"r{number}", "a", 500)
    way.send("r", "b", 1)
    assert way.order(["a", "b"]) == ["a", "b"]
    way.end("refused", "a")
    way.send("refused", "b", 500)
    way.send("more", "a", 100)
    assert way.order(["a", "b"]) == ["a", "b"]


def test_of_ends_whose_sending_is_never_told_the_last_are_kept() -> None:
    way = OnTheWay()
    for number in range(2 * MOST_EARLY):
        way.end(f"r{number}", "a")
    assert len(way._early) == MOST_EARLY
    way.send(f"r{2 * MOST_EARLY - 1}", "a", 500)
    way.send("r", "b", 1)
    assert way.order(["a", "b"]) == ["a", "b"]


def test_a_request_that_is_sent_again_weighs_where_it_is_now() -> None:
    way = OnTheWay()
    way.send("r1", "a", 500)
    way.send("r1", "b", 500)
    assert way.order(["a", "b"]) == ["a", "b"]
    assert way.order(["b", "a"]) == ["a", "b"]


def test_a_replica_that_is_gone_is_forgotten_but_not_what_it_still_has() -> None:
    way = OnTheWay()
    way.send("r1", "a", 500)
    way.order(["b"])
    way.forget(["c"])
    assert way._turns == {}
    way.end("r1", "a")
    way.forget(["c"])
    assert way._tokens == {}


def test_tokens_are_those_of_a_portion() -> None:
    assert tokens_of(["model", PORTION, "default", 0]) == 42
    assert tokens_of([]) == 1


def replica(name: str) -> Any:
    return SimpleNamespace(replica_id=name)


def pending(request: str, model: str = "") -> Any:
    metadata = SimpleNamespace(internal_request_id=request, multiplexed_model_id=model)
    return SimpleNamespace(metadata=metadata, args=["model", PORTION, "default", 0])


@pytest.fixture
def router() -> Any:
    """Without Ray's own constructor, which wants a running cluster."""
    made = TokensRouter.__new__(TokensRouter)
    made._replicas = {name: replica(name) for name in ("a", "b")}
    made.initialize_state()
    return made


def chosen(router: Any, request: Any, candidates: tuple[str, ...] = ("a", "b")) -> list[str]:
    found = asyncio.run(router.choose_replicas([replica(name) for name in candidates], request))
    assert all(len(rank) == 1 for rank in found)
    return [rank[0].replica_id for rank in found]


def test_serve_s_hooks_count_what_is_sent_and_answered(router: Any) -> None:
    router.on_request_routed(pending("r1"), "a", None)
    assert chosen(router, pending("r2")) == ["b", "a"]
    router.on_request_routed(pending("r2"), "b", None)
    router.on_request_routed(pending("r3"), "b", None)
    assert chosen(router, None) == ["a", "b"]
    for request in ("r2", "r3"):
        router.on_request_completed("b", request)
    assert chosen(router, pending("r4")) == ["b", "a"]


def test_a_model_that_only_some_replicas_hold_goes_to_those(router: Any) -> None:
    router.apply_multiplex_routing = lambda pending_request: {"b", "gone"}
    router.on_request_routed(pending("r1"), "b", None)
    assert chosen(router, pending("r2", "qwen")) == ["b"]
