"""Models on other servers, as the server offers them: exact scores and costs, and what is charged when servers fail.

The servers speak real HTTP; those of the first tests compute with this engine, from the token ids that they are sent.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from accounts import make_account
from asgi import Reply, Visit, posting, run, visit
from gigarank.cli.serve import _backend
from gigarank.engine.plan import Piece
from gigarank.engine.reranker import Reranker
from gigarank.engine.scoring import answer_logits
from gigarank.engine.work import Failure, Result, Search, Unscored, Work
from gigarank.errors import (
    GigarankError,
    InvalidInput,
    ModelLoading,
    Overloaded,
    QueryTooLong,
    RequestTooLarge,
    ShuttingDown,
    UnknownModel,
    UnsupportedParameter,
    UpstreamUnavailable,
)
from gigarank.service.app import create_app
from gigarank.service.backend import Urgency
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.settings import Settings
from gigarank.service.tables import reservations, usage
from gigarank.service.upstream.backend import UpstreamBackend, WaitingLimits
from gigarank.service.upstream.balance import BalanceLimits, Balancer, Upstream
from gigarank.service.upstream.client import RerankClient, VllmClient
from gigarank.service.upstream.models import parse_remotes
from gigarank.types import EngineOptions, Score, Usage, Windows
from hosting import WORK, until
from upstream_server import Scorer, by_words, changed, closing, hanging, scorer, status

LONG = 512
DOCUMENTS = ("Mars is red.", "", "Venus <|im_end|> is bright. " * 30, "red " * 900, "Mars is red.", "\ud800", "a cake")
SEARCHES = (Search("which planet is red", DOCUMENTS), Search("cake", ("a cake", "a car"), "Find recipes"))
Act = Callable[[UpstreamBackend], Awaitable[None]]


@pytest.fixture(scope="module")
def engine(models: Path) -> Reranker:
    return Reranker.load(models / "a", options=EngineOptions(max_pair_tokens=LONG))


@pytest.fixture
def computing(engine: Reranker) -> Iterator[Scorer]:
    """A server that computes with the model's own weights."""

    def logit(ids: list[int]) -> float:
        (found,) = engine.runner.run([Piece(len(ids))], [ids])
        return answer_logits(found[1], engine.answer)[0]

    with scorer(logit=logit, models={"a": LONG}) as state:
        yield state


def served(models: Path, act: Act, *servers: Scorer, waiting: WaitingLimits | None = None, **limits: Any) -> None:
    """Does `act` with a backend whose model `a` is on these servers."""
    timeout_s = limits.pop("timeout_s", 60.0)

    async def work() -> None:
        upstreams = [Upstream(VllmClient(state.url, "", timeout_s)) for state in servers]
        own = BalanceLimits(**{"probe_s": 0.05, "pause_s": 0.0, "grace_s": 20.0, **limits})
        backend = UpstreamBackend(parse_remotes("vllm", [str(models / "a")], ""), Balancer(upstreams, own), waiting)
        await backend.start()
        try:
            if not any(state.broken for state in servers):
                await until(lambda: all(upstream.up for upstream in upstreams))
            await act(backend)
        finally:
            await backend.drain(5.0)

    run(work(), 60.0)


def scored(models: Path, work: Work, *servers: Scorer, **limits: Any) -> Result:
    results = []

    async def act(backend: UpstreamBackend) -> None:
        results.append(await backend.score("a", work))

    served(models, act, *servers, **limits)
    return results[0]


def test_scores_counts_and_costs_are_the_engines_own(models: Path, engine: Reranker, computing: Scorer) -> None:
    """Special tokens as text, equal documents, one that is cut, one that cannot be read, an instruction."""
    result = scored(models, Work(SEARCHES), computing)
    whole = [search.documents[:5] + search.documents[6:] for search in SEARCHES[:1]] + [SEARCHES[1].documents]
    first, second = (
        engine.rank(search.query, texts, instruction=search.instruction) for search, texts in zip(SEARCHES, whole, strict=True)
    )
    failure = result.outcomes[0][5]
    assert isinstance(failure, Failure) and "documents[5]: not valid Unicode" in failure.error.message
    told = [one for one in result.outcomes[0] if isinstance(one, Score)]
    assert [one.index for one in told] == [0, 1, 2, 3, 4, 6]
    for mine, theirs in zip(told, sorted(first, key=lambda one: one.index), strict=True):
        assert mine.logit == pytest.approx(theirs.logit, abs=1e-5)
        assert (mine.tokens, mine.truncated) == (theirs.tokens, theirs.truncated)
    assert [one.index for one in result.outcomes[1]] == [0, 1]
    assert result.usage.total_tokens == first.usage.total_tokens + second.usage.total_tokens
    sent = [ids for body in computing.asked for ids in body["input"]]
    assert len(sent) == 7 and max(map(len, sent)) == LONG  # the equal documents once


def test_windows_are_read_whole_and_the_best_counts(models: Path, engine: Reranker, computing: Scorer) -> None:
    text = "red stone " * 500
    result = scored(models, Work((Search("red", (text,)),), windows=Windows(64)), computing)
    (mine,) = result.outcomes[0]
    (theirs,) = engine.rank("red", [text], windows=Windows(64))
    assert isinstance(mine, Score) and mine.window == theirs.window and mine.window is not None
    assert mine.logit == pytest.approx(theirs.logit, abs=1e-5)


def test_a_large_request_is_spread_and_comes_back_in_order(models: Path) -> None:
    work = Work((Search("red", tuple(f"stone {n} " * 40 for n in range(300))),))
    with scorer(models={"a": LONG}) as one, scorer(models={"a": LONG}) as other:
        spread = scored(models, work, one, other, tokens=9_000)
        assert min(len(one.asked), len(other.asked)) >= 2
        assert all(sum(map(len, body["input"])) <= 8_192 for body in (*one.asked, *other.asked))
    with scorer(models={"a": LONG}) as alone:
        assert scored(models, work, alone).outcomes == spread.outcomes
    assert len({one.logit for one in spread.outcomes[0] if isinstance(one, Score)}) > 20


def raised(models: Path, work: Work, server: Scorer, kind: type[GigarankError], **limits: Any) -> GigarankError:
    with pytest.raises(kind) as caught:
        scored(models, work, server, **limits)
    return caught.value


def test_what_the_engine_would_refuse_is_refused_before_a_server_is_asked(models: Path) -> None:
    with scorer(models={"a": LONG}) as state:
        assert raised(models, Work((Search(" ", ("x",)),)), state, InvalidInput).param == "query"
        assert raised(models, Work((Search("x " * 600, ("x",)),)), state, QueryTooLong).limit == LONG
        whole = Work((Search("x", ("x " * 600, "y")),), truncate=False)
        outcomes = scored(models, whole, state).outcomes[0]
        assert isinstance(outcomes[0], Failure) and isinstance(outcomes[1], Score)
        large = raised(models, WORK, state, RequestTooLarge, waiting=WaitingLimits(tokens=100))
        assert (large.limit, large.param) == (100, "documents")
        assert raised(models, WORK, state, RequestTooLarge, waiting=WaitingLimits(tokens=5)).limit == 40
    assert len(state.asked) == 1


def test_a_full_queue_refuses_and_what_is_answered_makes_room(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        first = asyncio.create_task(backend.score("a", WORK))
        await until(lambda: bool(backend.queues()[0].waiting_requests))
        await until(lambda: bool(state.asked))
        assert (backend.queues()[0].waiting_requests, backend.queues()[0].waiting_pairs) == (1, 3)
        assert backend.queues()[0].waiting_tokens == sum(map(len, state.asked[0]["input"]))
        with pytest.raises(Overloaded, match="at most 1 requests may wait"):
            await backend.score("a", WORK)
        assert state.held is not None
        state.held.set()
        await first
        assert backend.queues()[0].waiting_tokens == backend.queues()[0].waiting_pairs == 0
        await backend.score("a", WORK)

    with scorer(models={"a": LONG}, held=threading.Event()) as state:
        served(models, act, state, waiting=WaitingLimits(requests=1))


def test_what_is_late_is_unscored_and_not_paid_for(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        many = Work((Search("red", tuple(f"{n}" for n in range(128))),), deadline=time.monotonic() + 1.0)
        result = await backend.score("a", many)
        scores = [one for one in result.outcomes[0] if isinstance(one, Score)]
        assert len(scores) in (0, 64)  # of two questions one is never answered; the other is, unless this machine stands still
        assert all(isinstance(one, Unscored) for one in result.outcomes[0] if not isinstance(one, Score))
        assert result.usage.documents == len(scores)
        assert backend.queues()[0].waiting_tokens == 0

    with scorer(models={"a": LONG}, faults=[hanging]) as state:
        served(models, act, state)


def test_a_caller_that_leaves_takes_its_questions_back(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        task = asyncio.create_task(backend.score("a", WORK))
        await until(lambda: bool(state.asked))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert backend.queues()[0].waiting_requests == 0
        assert isinstance((await backend.score("a", WORK)).outcomes[0][0], Score)

    with scorer(models={"a": LONG}, faults=[hanging]) as state:
        served(models, act, state)


def test_a_document_that_no_server_can_score_fails_alone(models: Path) -> None:
    spoilt = changed(lambda told: told["data"][1].update(probs=[None]))
    with scorer(models={"a": LONG}, faults=[spoilt] * 3) as state:
        outcomes = scored(models, WORK, state).outcomes[0]
    assert [type(one) for one in outcomes] == [Score, Failure, Score]
    assert isinstance(outcomes[1], Failure) and outcomes[1].error.code == "non_finite_score"


def test_a_server_in_doubt_is_tried_out_again(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        before = state.trials
        await backend.score("a", WORK)
        await until(lambda: state.trials > before)

    with scorer(models={"a": LONG}, faults=[changed(lambda told: told["data"][1].update(probs=[None]))]) as state:
        served(models, act, state)


def test_a_server_that_dies_is_left_out_and_taken_back_when_it_works(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        assert backend.ready()
        one.broken = status(500)
        await asyncio.gather(*(backend.score("a", WORK) for _ in range(20)))
        await until(lambda: not backend._balancer.upstreams[0].up)
        assert backend.ready() and backend.models()[0].state == "ready"
        asked = len(one.asked)
        await asyncio.gather(*(backend.score("a", WORK) for _ in range(5)))
        assert len(one.asked) == asked
        one.broken = None
        await until(lambda: backend._balancer.upstreams[0].up)

    with scorer(models={"a": LONG}) as one, scorer(models={"a": LONG}) as other:
        served(models, act, one, other)


def test_without_a_server_that_works_the_model_has_failed_and_says_why(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        await until(lambda: backend.models()[0].state == "failed")
        assert not backend.ready() and "answered 500" in backend.models()[0].failure
        with pytest.raises(UpstreamUnavailable, match="none answers"):
            await backend.score("a", WORK)
        asked = asyncio.create_task(backend.score("a", WORK, wait_s=20.0))
        await asyncio.sleep(0)
        state.broken = None
        assert len((await asked).outcomes[0]) == 3

    with scorer(models={"a": LONG}, broken=status(500)) as state:
        served(models, act, state)


def test_a_server_with_other_models_is_none_of_ours(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        await until(lambda: backend.models()[0].state == "failed")
        assert "it has b, c, and none of a" in backend.models()[0].failure

    with scorer(models={"b": 1, "c": 1}) as state:
        state.broken = None

        async def work() -> None:
            backend = UpstreamBackend(
                parse_remotes("vllm", [str(models / "a")], ""),
                Balancer([Upstream(VllmClient(state.url, "", 60.0))], BalanceLimits()),
            )
            await backend.start()
            await act(backend)
            await backend.drain(0.0)

        run(work())


def test_before_the_start_and_after_the_end_nothing_is_accepted(models: Path) -> None:
    backend = UpstreamBackend(parse_remotes("vllm", [str(models / "a")], ""), Balancer([], BalanceLimits()))
    assert backend.models() == [] and not backend.ready()
    with pytest.raises(ShuttingDown):
        run(backend.score("a", WORK))

    async def act(other: UpstreamBackend) -> None:
        await other.drain(0.0)
        with pytest.raises(ShuttingDown):
            await other.score("a", WORK)

    with scorer(models={"a": LONG}) as state:
        served(models, act, state)


def test_what_these_servers_cannot_do_is_refused_by_name(models: Path) -> None:
    async def act(backend: UpstreamBackend) -> None:
        with pytest.raises(UnknownModel, match="'b' is not offered here; offered are a"):
            await backend.score("b", WORK)
        with pytest.raises(InvalidInput, match="gives no vectors"):
            await backend.embed("a", ["x"], task=None, dimensions=None, urgency=Urgency())
        with pytest.raises(UnsupportedParameter, match="no probabilities of single words"):
            await backend.answer("a", ["x"], Urgency())

    with scorer(models={"a": LONG}) as state:
        served(models, act, state)
    with pytest.raises(InvalidInput, match=r"qwen3-embedding-0\.6b is an embedder"):
        parse_remotes("vllm", ["qwen3-embedding-0.6b"], "")


def test_before_the_first_look_a_model_is_loading(models: Path) -> None:
    async def work() -> None:
        with scorer(models={"a": LONG}, broken=hanging) as state:
            upstream = Upstream(VllmClient(state.url, "", 60.0))
            backend = UpstreamBackend(parse_remotes("vllm", [str(models / "a")], ""), Balancer([upstream], BalanceLimits()))
            await backend.start()
            assert backend.models()[0].state == "loading"
            with pytest.raises(ModelLoading):
                await backend.score("a", WORK)
            await backend.drain(0.0)

    run(work())


class TestAnAccount:
    """Two servers, one of which fails in every way: each request is charged once, and the ledger is sound."""

    FAULTS = (status(500), closing, status(429), changed(lambda told: told["data"].pop()))

    def test_pays_once_whatever_was_tried(self, models: Path, database: Database, database_url: str, tmp_path: Path) -> None:
        settings = Settings(models=("a",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
        made = make_account(database, open_secrets(settings), 100_000)
        body = {"query": "red planet", "documents": ["the red planet is Mars " * 40, "a red car"]}
        with scorer(models={"a": LONG}, faults=list(self.FAULTS)) as one, scorer(models={"a": LONG}) as other:
            upstreams = [Upstream(VllmClient(state.url, "", 60.0)) for state in (one, other)]
            limits = BalanceLimits(pause_s=0.0, failures=100)
            backend = UpstreamBackend(parse_remotes("vllm", [str(models / "a")], ""), Balancer(upstreams, limits))
            asked = [posting(body, x_api_key=made.key) for _ in range(8)]
            replies = answered(settings, backend, *asked)
            assert [reply.status for reply in replies] == [200] * 8
            assert not one.faults and len(one.asked) + len(other.asked) == 8 + len(self.FAULTS)
            tokens = {reply.json["usage"]["total_tokens"] for reply in replies}
        rows = database.transaction(lambda c: c.execute(select(usage.c.tokens, usage.c.amount_micros)).all())
        assert len(rows) == 8 and {row.tokens for row in rows} == tokens and len(tokens) == 1
        assert database.transaction(lambda c: c.execute(select(reservations)).all()) == []
        assert database.transaction(audit).problems == ()

    def test_pays_nothing_where_no_server_answers(
        self, models: Path, database: Database, database_url: str, tmp_path: Path
    ) -> None:
        settings = Settings(models=("a",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
        made = make_account(database, open_secrets(settings), 1_000)
        with scorer(models={"a": LONG}, faults=[status(500)] * 3) as state:
            limits = BalanceLimits(pause_s=0.0, failures=100)
            backend = UpstreamBackend(
                parse_remotes("vllm", [str(models / "a")], ""), Balancer([Upstream(VllmClient(state.url, "", 60.0))], limits)
            )
            body = {"query": "red", "documents": ["red"]}
            first, second = answered(settings, backend, *[posting(body, x_api_key=made.key) for _ in range(2)])
        assert (first.status, first.error["code"], first.headers["retry-after"]) == (503, "upstream_unavailable", "2")
        assert second.status == 200
        assert len(database.transaction(lambda c: c.execute(select(usage)).all())) == 1
        assert database.transaction(audit).problems == ()


def answered(settings: Settings, backend: UpstreamBackend, *requests: Visit) -> list[Reply]:
    """One after the other, once the backend's servers have been looked at."""

    async def work() -> list[Reply]:
        app = create_app(settings, backend)
        async with app.router.lifespan_context(app):
            await until(backend.ready)
            return [await visit(app, request) for request in requests]

    return run(work(), 60.0)


class TestAServerThatMakesItsOwnPrompt:
    def scored(self, state: Scorer, work: Work, model: str = "mine=theirs") -> Result:
        async def act() -> Result:
            upstream = Upstream(RerankClient(f"{state.url}/v1/rerank", "", 60.0))
            backend = UpstreamBackend(parse_remotes("rerank", [model], ""), Balancer([upstream], BalanceLimits(pause_s=0.0)))
            await backend.start()
            await until(backend.ready)
            assert backend.models()[0].name == model.partition("=")[0] and backend.models()[0].pinned
            try:
                return await backend.score("mine", work)
            finally:
                await backend.drain(1.0)

        return run(act())

    def test_is_asked_with_texts(self) -> None:
        admitted: list[Usage] = []
        texts = (*(f"{'red' if n % 3 else 'blue'} stone {n}" for n in range(100)), "\ud800")
        with scorer(logit=by_words) as state:
            work = Work((Search("red stone", texts), Search("x", ("y",), "Find x")), admit=admitted.append)
            result = self.scored(state, work)
        first = result.outcomes[0]
        assert [one.index for one in first] == list(range(101)) and isinstance(first[100], Failure)
        assert [one.logit > 2 for one in first[:100] if isinstance(one, Score)] == [n % 3 > 0 for n in range(100)]
        asked = {len(body["documents"]): body.get("instruction") for body in state.asked}
        assert asked == {64: None, 36: None, 1: "Find x"}
        assert {body["model"] for body in state.asked} == {"theirs"}
        assert admitted == [result.usage] and result.usage.documents == 101
        assert result.usage.total_tokens == result.usage.prefix_tokens + result.usage.document_tokens

    @pytest.mark.parametrize(
        ("change", "param"),
        [
            ({"max_document_tokens": 9}, "max_tokens_per_doc"),
            ({"max_query_tokens": 9}, "max_tokens_per_query"),
            ({"truncate": False}, "truncate"),
            ({"windows": Windows()}, "windows"),
        ],
    )
    def test_refuses_what_needs_tokens(self, change: dict[str, Any], param: str) -> None:
        with scorer(logit=by_words) as state, pytest.raises(UnsupportedParameter) as caught:
            self.scored(state, replace(Work((Search("x", ("y",)),)), **change))
        assert caught.value.param == param and not state.asked

    def test_a_number_that_is_none_fails_its_document(self) -> None:
        with scorer(logit=by_words) as state:
            spoilt = changed(
                lambda told: next(o for o in told["results"] if o["index"] == 1).update(relevance_score=float("nan"))
            )
            state.faults = [spoilt] * 3
            outcomes = self.scored(state, Work((Search("x", ("x", "y")),))).outcomes[0]
        assert isinstance(outcomes[0], Score) and isinstance(outcomes[1], Failure)


@pytest.mark.parametrize(("word", "kind"), [("vllm", VllmClient), ("rerank", RerankClient)])
def test_the_command_line_makes_a_backend_of_its_word(models: Path, word: str, kind: type[Any]) -> None:
    settings = Settings(models=(str(models / "a"),), upstream_key="k", upstream_timeout_s=7.0, upstream_tokens=99)
    backend = _backend(settings, f"{word}=http://one:1,http://two:2")
    assert isinstance(backend, UpstreamBackend)
    clients = [upstream.client for upstream in backend._balancer.upstreams]
    assert [type(client) for client in clients] == [kind, kind]
    assert [client.name.partition("/v1")[0] for client in clients] == ["http://one:1", "http://two:2"]
    assert backend._balancer.limits.tokens == 99
    asyncio.run(_closed(backend))


async def _closed(backend: UpstreamBackend) -> None:
    await asyncio.gather(*(upstream.client.close() for upstream in backend._balancer.upstreams))
