"""Hosts of small real checkpoints, for tests: what a loader does is real, and a test may hold it up and count it.

Weights are random, the vocabulary is the first part of Qwen3's. `weigh` is what one of the models takes in memory.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.engine.download import DownloadProgress
from gigarank.engine.work import Search, Work
from gigarank.prompt import QWEN3_V1
from gigarank.service.hosting.host import Host
from gigarank.service.hosting.loader import EngineLoader, Facts, Model, weight_bytes
from gigarank.service.hosting.options import HostOptions
from gigarank.service.hosting.specs import ModelSpec

SHAPE = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)
WORK = Work((Search("which planet is red", ("Mars is red.", "Venus is bright.", "a cake")),))


def write_models(root: Path) -> Path:
    """Folders a, b, c (rerankers), vectors (an embedder), broken (a reranker of NaN)."""
    for seed, name in enumerate(("a", "b", "c", "vectors", "broken")):
        write_checkpoint(root / name, SHAPE, QWEN3_V1, seed)
    (root / "vectors" / "1_Pooling").mkdir()
    spoil(root / "broken")
    return root


def spoil(folder: Path) -> None:
    """NaN in the last norm."""
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], float("nan"))
    save_file(tensors, file, metadata={"format": "pt"})


def weigh(folder: Path) -> int:
    return weight_bytes(folder.glob("*.safetensors"), 4)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Held:
    """EngineLoader, whose loads wait while their gate is shut. `loaded`: names in the order in which loads began."""

    def __init__(self) -> None:
        self.engine = EngineLoader()
        self.loaded: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.fails: dict[str, Exception] = {}
        self.changed: dict[str, Callable[[Facts], Facts]] = {}

    def shut(self, name: str) -> threading.Event:
        return self.gates.setdefault(name, threading.Event())

    def survey(self, spec: ModelSpec) -> Facts:
        facts = self.engine.survey(spec)
        change = self.changed.get(spec.name)
        return change(facts) if change is not None else facts

    def load(self, spec: ModelSpec, progress: DownloadProgress) -> Model:
        self.loaded.append(spec.name)
        if spec.name in self.gates:
            assert self.gates[spec.name].wait(30.0)
        if spec.name in self.fails:
            raise self.fails[spec.name]
        return self.engine.load(spec, progress)

    def memory_bytes(self) -> int:
        return self.engine.memory_bytes()


def offered(root: Path, *names: str, pinned: tuple[str, ...] = ()) -> HostOptions:
    """Options for these folders; none is pinned but those said to be."""
    return HostOptions(tuple(ModelSpec(name, str(root / name), pinned=name in pinned) for name in names), fresh_s=0.0)


@asynccontextmanager
async def running(options: HostOptions, loader: Held | None = None, clock: Clock | None = None) -> AsyncIterator[Host]:
    """A started host, drained at the end. A load that is held up then ends."""
    held = loader or Held()
    host = Host(options, held, clock=clock) if clock else Host(options, held)
    await host.start()
    try:
        yield host
    finally:
        for gate in held.gates.values():
            gate.set()
        await host.drain(10.0)


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def states(host: Host) -> dict[str, str]:
    return {model.name: model.state for model in host.models()}


def within(options: HostOptions, memory_bytes: int) -> HostOptions:
    return replace(options, memory_bytes=memory_bytes)
