"""How cost grows: pairs a second over the number of documents, their length, the query's length, and threads.

Each axis moves one of them and leaves the others; every point is measured with each number of threads, and all points take
turns, round after round. Draws nothing. Invariant: a point that the model cannot read is left out, and the result says why.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from gigarank.bench.workloads import Request, Workload, head, request
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput
from gigarank.types import JsonObject, Progress

DOCUMENT_TOKENS, PASSAGE_TOKENS = 40, 140
QUERY_DOCUMENTS = 16
_READ_TOKENS, _MOST_DOCUMENTS = 4_000, 64  # of a step along document lengths: long enough to time, short enough to wait for
_WARM_DOCUMENTS, _WARM_WORDS = 4, 100


@dataclass(frozen=True, slots=True)
class Steps:
    """The values on each axis; an axis without values is not measured. `threads`: every step is measured with each."""

    documents: tuple[int, ...] = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
    document_tokens: tuple[int, ...] = (10, 30, 100, 300, 1_000, 3_000, 10_000, 32_000)
    query_tokens: tuple[int, ...] = (4, 16, 64, 256, 1_024, 4_096)
    threads: tuple[int, ...] = (1, 2)


QUICK = Steps((1, 10, 100), (10, 100, 1_000), (4, 64, 256))


@dataclass(frozen=True, slots=True)
class Step:
    """One point of an axis: what is moved, and what is ranked."""

    axis: str
    value: int
    asked: Request
    document_tokens: int
    query_tokens: int


def check(steps: Steps, repeats: int, cores: int) -> None:
    """Raises InvalidInput for values that cannot be measured."""
    for axis in ("documents", "document_tokens", "query_tokens", "threads"):
        for value in getattr(steps, axis):
            _require(axis, value, 1)
    _require("repeats", repeats, 1)
    for value in steps.threads:
        if value > cores:
            raise InvalidInput(
                f"threads: at most {cores}, the cores of this machine, not {value}",
                param="threads",
                limit=cores,
                received=value,
            )
    if not steps.threads:
        raise InvalidInput("threads: at least one number is needed, none was given", param="threads", limit=1, received=0)


def _require(name: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidInput(f"{name}: at least {least}, not {value}", param=name, limit=least, received=value)


def measure(
    model: Reranker, tokenizer: Tokenizer, steps: Steps, *, repeats: int, seed: int = 0, progress: Progress
) -> JsonObject:
    """The points in the order of the axes, each with the seconds of all rounds. `progress` counts rankings."""
    chosen, left_out = _steps(model, tokenizer, steps, seed)
    turns = [(step, threads) for step in chosen for threads in steps.threads]
    seconds: dict[tuple[str, int, int], list[float]] = {}
    done, total = 0, repeats * len(turns)
    for number in range(repeats):
        for step, threads in turns:
            with using(threads):
                if number == 0:
                    _rank(model, head(step.asked, _WARM_DOCUMENTS, _WARM_WORDS))
                seconds.setdefault((step.axis, step.value, threads), []).append(_rank(model, step.asked))
            done += 1
            progress(done, total)
    points = [_point(step, threads, seconds[step.axis, step.value, threads]) for step, threads in turns]
    return {"points": points, "left_out": left_out}


@contextmanager
def using(threads: int) -> Iterator[None]:
    """torch with so many threads, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rank(model: Reranker, asked: Request) -> float:
    started = time.perf_counter()
    model.rank(asked.query, asked.documents)
    return time.perf_counter() - started


def workloads(steps: Steps) -> list[tuple[str, int, Workload]]:
    """Each axis's name, the value on it, and what is ranked there. Documents along the lengths are of exactly that length."""
    found = [("documents", count, Workload("documents", count, DOCUMENT_TOKENS)) for count in steps.documents]
    for tokens in steps.document_tokens:
        count = max(1, min(_MOST_DOCUMENTS, _READ_TOKENS // tokens))
        found.append(("document_tokens", tokens, Workload("lengths", count, tokens, spread=0.0)))
    found += [
        ("query_tokens", tokens, Workload("queries", QUERY_DOCUMENTS, PASSAGE_TOKENS, query_words=tokens))
        for tokens in steps.query_tokens
    ]
    return found


def _steps(model: Reranker, tokenizer: Tokenizer, steps: Steps, seed: int) -> tuple[list[Step], list[JsonObject]]:
    chosen, left_out = [], []
    for axis, value, workload in workloads(steps):
        asked = request(workload, tokenizer, model.prompt, seed)
        longest = max(_pair_tokens(model, asked, document) for document in (asked.documents[0], max(asked.documents, key=len)))
        if longest > model.max_pair_tokens:
            reason = f"a pair has {longest} tokens, the model reads {model.max_pair_tokens}"
            left_out.append({"axis": axis, "value": value, "reason": reason})
        else:
            chosen.append(Step(axis, value, asked, workload.tokens, workload.query_words))
    return chosen, left_out


def _pair_tokens(model: Reranker, asked: Request, document: str) -> int:
    tokens = model.tokenizer
    parts = (tokens.roots([None]), tokens.queries([asked.query]), tokens.documents([document]))
    return sum(len(ids) for (ids,) in parts) + len(tokens.suffix_ids)


def _point(step: Step, threads: int, seconds: Sequence[float]) -> JsonObject:
    typical = statistics.median(seconds)
    return {
        "axis": step.axis,
        "value": step.value,
        "threads": threads,
        "documents": len(step.asked.documents),
        "document_tokens": step.document_tokens,
        "query_tokens": step.query_tokens,
        "pairs_per_second": float(f"{len(step.asked.documents) / typical:.4g}"),
        "read_tokens_per_second": float(f"{step.asked.read_tokens / typical:.4g}"),
        "seconds": [float(f"{one:.4g}") for one in seconds],
    }
