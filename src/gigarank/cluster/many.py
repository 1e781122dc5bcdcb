"""Ranking a whole input: the blocks that are not finished go through engines that Ray Data keeps, and end as files.

Knows Ray; rows, files and scores are the other modules' matter. Invariant: a block is finished when its file is in the
output, and then it is never computed again; whatever stops is as if it had not begun.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

# Read when ray is imported: nothing is reported to anybody, its C++ side keeps off the terminal, and engines have the
# priority of the command that started them, not one 15 steps below it.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_worker_niceness", "0")

import pyarrow as pa
import ray
from filelock import FileLock, Timeout
from ray.data import ActorPoolStrategy, DataContext

from gigarank.cluster.blocks import Block, read_block
from gigarank.cluster.crew import Crew, Machine, crew
from gigarank.cluster.manifest import DONE, LOCK, Asked, Manifest, prepare
from gigarank.cluster.places import Place
from gigarank.cluster.scoring import answer_block, to_jsonl, to_parquet
from gigarank.engine.identity import fingerprint_of
from gigarank.engine.reranker import Reranker
from gigarank.engine.store import Checkpoint
from gigarank.errors import CheckpointError, GigarankError, InvalidInput
from gigarank.types import EngineOptions, Progress

LOCAL = "local"
_MOST_TASKS = 4_096  # that Ray Data keeps account of; above it a task has several blocks
_STORE_BYTES = 2**27  # of Ray's shared memory: blocks' numbers pass through it, no rows


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What every engine loads, and the fingerprint of what it must be."""

    model: str
    revision: str | None
    adapter: str | None
    dtype: str
    device: str
    max_tokens: int | None
    fingerprint: str

    def load(self) -> Reranker:
        """Raises CheckpointError where this machine has another model under the name."""
        options = EngineOptions(max_pair_tokens=self.max_tokens)
        chosen = {"dtype": self.dtype, "device": self.device, "revision": self.revision, "adapter": self.adapter}
        loaded = Reranker.load(self.model, **chosen, options=options)  # type: ignore[arg-type]
        if loaded.fingerprint != self.fingerprint:
            raise CheckpointError(f"model: {self.model} is not the same on {os.uname().nodename} as where the ranking began")
        return loaded


@dataclass(frozen=True)
class Job:
    """All that an engine needs besides the block."""

    source: Place
    output: Place
    manifest: Manifest
    choice: ModelChoice
    instruction: str | None
    top_n: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What one run did: of `blocks`, `finished_before` were there already; `rows` and `errors` are this run's own."""

    blocks: int
    finished_before: int
    rows: int
    errors: int
    seconds: float
    actors: int
    threads: int


class Engine:
    """One model in a process of Ray's. What fails is answered, not raised: Ray would wrap it, and try again."""

    def __init__(self, job: Job, threads: int) -> None:
        import torch  # noqa: PLC0415  # where the model is, not where the job is described

        torch.set_num_threads(threads)
        self._job = job
        self._model: Reranker | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        done = [self._work(Block(**json.loads(block))) for block in batch["block"]]
        return {name: [one[name] for one in done] for name in ("rows", "errors", "failure")}

    def _work(self, block: Block) -> dict[str, Any]:
        try:
            if self._model is None:
                self._model = self._job.choice.load()
            errors = rank_block(self._model, self._job, block)
        except (GigarankError, OSError, pa.ArrowException) as error:
            return {"rows": 0, "errors": 0, "failure": _packed(error)}
        return {"rows": block.rows, "errors": errors, "failure": ""}


def rank_block(model: Reranker, job: Job, block: Block) -> int:
    """Reads, scores, writes; gives the number of rows that have an error instead of a score."""
    fields = job.manifest.fields
    content = read_block(job.source, block, job.manifest.file(block.file), fields)
    answers = answer_block(model, content, fields, job.instruction, job.top_n)
    name = block.file or Path(job.source.path).name
    is_jsonl = job.manifest.form == "jsonl"
    written = to_jsonl(name, content, answers) if is_jsonl else to_parquet(name, content, answers, fields.many)
    job.output.write(job.manifest.part(block), written)
    return answers.errors


def _packed(error: Exception) -> str:
    if isinstance(error, OSError):
        return json.dumps({"errno": error.errno, "message": error.strerror or str(error), "file": error.filename})
    return json.dumps({"code": getattr(error, "code", None), "message": str(error)})


def raise_packed(failure: str) -> None:
    """What an engine answered, as the error that it was."""
    about = json.loads(failure)
    if "errno" in about:
        raise OSError(about["errno"] or 0, about["message"], about["file"])
    known = {error.code: error for error in _tree(GigarankError)}
    raise known.get(about["code"], GigarankError)(about["message"])


def _tree(error: type[GigarankError]) -> Iterator[type[GigarankError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


@contextmanager
def held(output: Place) -> Iterator[None]:
    """The output folder for one run alone, and without what stopped ones left half. A bucket cannot be held: two runs there
    do the same work twice, and write the same."""
    output.make()
    lock = FileLock(Path(output.path) / LOCK) if output.local else None
    try:
        if lock is not None:
            lock.acquire(timeout=0)
    except Timeout:
        raise InvalidInput(f"output: {output.shown}: another run writes there", param="output") from None
    try:
        output.drop_halves()
        yield
    finally:
        if lock is not None:
            lock.release()


def rank_many(
    source: Place, output: Place, asked: Asked, choice: ModelChoice, place: "Where", progress: Progress | None = None
) -> Summary:
    """Every row of the input, ranked, in the output. Raises what `prepare` and the engines raise."""
    began = time.monotonic()
    with held(output):
        manifest = prepare(source, output, asked)
        there = {file.name for file in output.files()}
        left = [block for block in manifest.blocks if manifest.part(block) not in there]
        job = Job(source, output, manifest, choice, asked.settings["instruction"], asked.settings["top_n"])
        rows, errors, team = _run(job, left, place, progress) if left else (0, 0, Crew(0, 0))
        _check_all(job, left)
        output.write(DONE, b"")
    before = len(manifest.blocks) - len(left)
    return Summary(len(manifest.blocks), before, rows, errors, time.monotonic() - began, team.actors, team.threads)


@dataclass(frozen=True, slots=True)
class Where:
    """`cluster`: LOCAL, or an address of Ray's. `weight_bytes` is what one engine holds."""

    cluster: str
    actors: int | None
    weight_bytes: int


def _run(job: Job, left: Sequence[Block], where: Where, progress: Progress | None) -> tuple[int, int, Crew]:
    total, rows, errors = job.manifest.rows, 0, 0
    done = total - sum(block.rows for block in left)
    with _ray(where.cluster):
        team = crew(_machines(), where.weight_bytes, where.actors, job.choice.device != "cpu")
        for finished in _stream(job, left, team).iter_rows():
            if finished["failure"]:
                raise_packed(finished["failure"])
            rows, errors = rows + int(finished["rows"]), errors + int(finished["errors"])
            if progress is not None:
                progress(done + rows, total)
    return rows, errors, team


def _stream(job: Job, left: Sequence[Block], team: Crew) -> Any:
    items = [{"block": json.dumps(asdict(block))} for block in left]
    lean = replace(job, manifest=replace(job.manifest, blocks=()))  # an engine is told its block; a million would travel
    blocks = ray.data.from_items(items, override_num_blocks=min(len(items), _MOST_TASKS))
    return blocks.map_batches(
        Engine,
        fn_constructor_args=(lean, team.threads),
        batch_size=1,
        compute=ActorPoolStrategy(size=min(team.actors, len(left))),
        num_cpus=team.threads,
        num_gpus=team.gpus,
    )


@contextmanager
def _ray(cluster: str) -> Iterator[None]:
    """Ray, quiet: for `local` a small one of this process's own, which ends with it."""
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _silence():
        if cluster == LOCAL:
            ray.init("local", include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
        else:
            ray.init(cluster, **quiet)
    try:
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        yield
    finally:
        ray.shutdown()


@contextmanager
def _silence() -> Iterator[None]:
    """What C++ writes to standard error goes nowhere: that its log level was set is itself a line of its log."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _machines() -> list[Machine]:
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Machine(int(one.get("CPU", 0)), int(one.get("memory", 0)), int(one.get("GPU", 0))) for one in alive]


def _check_all(job: Job, left: Sequence[Block]) -> None:
    """A block that an engine has finished and that is not here lies on another machine's disk."""
    there = {file.name for file in job.output.files()}
    missing = [block for block in left if job.manifest.part(block) not in there]
    if missing:
        message = f"output: {len(missing)} finished blocks are not in {job.output.shown} as this machine sees it"
        raise InvalidInput(f"{message}; name a folder that all machines share, or s3://", param="output")


def choice_of(checkpoint: Checkpoint, **chosen: Any) -> ModelChoice:
    """The model on this machine, as all engines must load it."""
    return ModelChoice(fingerprint=fingerprint_of(checkpoint), **chosen)


def weight_bytes(checkpoint: Checkpoint) -> int:
    """What an engine holds, at most: weights on the disk have two bytes or more, in memory at most four."""
    return 2 * sum(path.stat().st_size for path in checkpoint.folder.glob("*.safetensors"))
