"""The cache of scores in a server: the setting, what a client and an operator see, and that it outlives a model's sleep."""

import asyncio
from pathlib import Path
from typing import Any

from asgi import Reply, getting, posting, visit
from gigarank.cli.serve import _loader
from gigarank.engine.score_cache import ScoreCache
from gigarank.service.app import create_app
from gigarank.service.hosting.host import Host
from gigarank.service.hosting.loader import EngineLoader
from gigarank.service.settings import Settings
from hosting import WORK, offered, states, until

QUESTION = {"model": "a", "query": "which planet is red", "documents": ["Mars is red.", "Venus is bright.", "a cake"]}


def answers(models: Path, loader: EngineLoader) -> tuple[list[Reply], dict[str, float]]:
    """The same question twice, another document with it, and then what /metrics says."""

    async def all_of_it() -> tuple[list[Reply], dict[str, float]]:
        host = Host(offered(models, "a", pinned=("a",)), loader)
        app = create_app(Settings(models=("a",), drain_timeout_s=5.0), host)
        async with asyncio.timeout(60.0), app.router.lifespan_context(app):
            await until(host.ready)
            more: dict[str, Any] = {**QUESTION, "documents": ["a pie", *QUESTION["documents"]]}
            replies = [await visit(app, posting(body)) for body in (QUESTION, QUESTION, more)]
            text = (await visit(app, getting("/metrics"))).body.decode()
        lines = [
            line.rpartition(" ") for line in text.splitlines() if line.startswith(("gigarank_score", "gigarank_batch_tok"))
        ]
        return replies, {name: float(value) for name, _, value in lines}

    return asyncio.run(all_of_it())


def told(reply: Reply) -> dict[str, Any]:
    """All but what differs from request to request."""
    return {name: value for name, value in reply.json.items() if name not in ("id", "created", "meta")}


def test_a_client_sees_no_difference_and_an_operator_does(models: Path) -> None:
    kept, counted = answers(models, EngineLoader(scores=ScoreCache(100)))
    plain, uncounted = answers(models, EngineLoader())
    assert [told(reply) for reply in kept] == [told(reply) for reply in plain]
    assert all(reply.status == 200 and reply.json["usage"]["total_tokens"] > 0 for reply in kept)
    used = [[reply.headers["x-gigarank-tokens"] for reply in replies] for replies in (kept, plain)]
    assert used[0] == used[1]
    found = [counted[f'gigarank_score_cache_{name}_total{{model="a"}}'] for name in ("hits", "misses")]
    assert found == [6, 4]
    assert uncounted['gigarank_score_cache_hits_total{model="a"}'] == 0
    tokens = 'gigarank_batch_tokens_total{model="a"}'
    assert 0 < counted[tokens] < 0.7 * uncounted[tokens]


def test_scores_are_there_when_a_model_wakes(models: Path) -> None:
    async def asked() -> None:
        options = offered(models, "a", "b")
        loader = EngineLoader(scores=ScoreCache(100))
        weights = loader.survey(options.models[0]).memory_bytes
        host = Host(type(options)(options.models, int(1.5 * weights), fresh_s=0.0), loader)
        await host.start()
        try:
            first = await host.score("a", WORK, wait_s=30.0)
            await host.score("b", WORK, wait_s=30.0)
            assert states(host)["a"] == "sleeping"
            again = await host.score("a", WORK, wait_s=30.0)
            counters = host.counters()["a"].worker
            assert counters is not None
            assert (counters.score_hits, counters.score_misses, counters.tokens) == (3, 0, 0)
            assert (again.outcomes, again.usage) == (first.outcomes, first.usage)
        finally:
            await host.drain(10.0)

    asyncio.run(asked())


def test_the_setting_bounds_what_all_models_keep() -> None:
    assert _loader(Settings()).scores is None
    made = _loader(Settings(score_cache=321)).scores
    assert made is not None
    assert made.max_scores == 321
