"""`gigarank rank-many` killed on its way: nothing lost, nothing twice, nothing computed again. Ends in one line of JSON.

    python scripts/many.py [--rows N] [--model NAME | --tiny] [--dtype DTYPE] [--block-rows N] [--kills N]
                           [--sample N] [--folder FOLDER]

Rows are one query and one document of about ten tokens each; a hundred rows share a query. The command is killed with
SIGKILL after equal parts of the blocks, and started again. In the end every row is there once, the files that were finished
before a kill are the same files, and `--sample` rows have bitwise the score that the library gives them; with `--sample 0`
all rows are compared with those of a run that nobody stopped. Exit code 1 where one of these does not hold.
`--tiny` is a model of two small layers with random weights, for the way of the rows instead of the arithmetic.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gigarank.bench import machine
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.engine.reranker import Reranker
from gigarank.prompt import QWEN3_V1
from gigarank.types import JsonObject

psutil: Any = import_module("psutil")  # it has no types

TINY = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)
WORDS = (
    *("river", "stone", "cloud", "apple", "green", "light", "window", "paper", "morning", "engine", "teacher", "garden"),
    *("bread", "winter", "market", "silver", "music", "road", "letter", "ocean", "field", "glass", "horse", "island"),
)
ROWS_A_QUERY = 100
_LOOK_SECONDS = 0.2


@dataclass
class Watch:
    """The highest memory of a process and all below it, in bytes; pages that several share count once."""

    peak: int = 0

    def look(self, process: subprocess.Popen[bytes]) -> None:
        try:
            root = psutil.Process(process.pid)
            everyone = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        self.peak = max(self.peak, sum(map(_pss, everyone)))


def _pss(process: Any) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def rows(count: int, seed: int = 9) -> Iterator[JsonObject]:
    chosen = random.Random(seed)
    query = ""
    for number in range(count):
        if number % ROWS_A_QUERY == 0:
            query = " ".join(chosen.choices(WORDS, k=3))
        yield {"id": number, "query": query, "document": f"{' '.join(chosen.choices(WORDS, k=7))} {number % 1000}"}


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="gigarank-many-", dir=asked.folder) as place:
        found = prove(Path(place), asked)
    print(json.dumps(found))
    return 0 if found["holds"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--dtype", default="fp32")
    parser.add_argument("--block-rows", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where the input and the output lie; a temporary folder if not given")
    return parser


def prove(place: Path, asked: argparse.Namespace) -> JsonObject:
    source, output = place / "rows.jsonl", place / "ranked"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(asked.rows))
    model = str(place / "model") if asked.tiny else asked.model
    if asked.tiny:
        write_checkpoint(place / "model", TINY, QWEN3_V1)
    command = [sys.executable, "-m", "gigarank", "rank-many", str(source), str(output), "--json", "--dtype", asked.dtype]
    command += ["--model", model, "--block-rows", str(asked.block_rows)]
    watch, seconds = Watch(), list[float]()
    finished: dict[str, tuple[int, int]] = {}
    for number in range(asked.kills):
        seconds.append(run(command, output, watch, (number + 1) / (asked.kills + 1)))
        finished |= parts(output)
        print(f"killed after {seconds[-1]:.0f} s: {len(parts(output))} blocks are finished", file=sys.stderr)
    seconds.append(run(command, output, watch, None))
    kept = parts(output)
    again = [name for name, stamp in finished.items() if kept.get(name) != stamp]
    answers = list(read(output))
    whole = [answer["id"] for answer in answers] == list(range(asked.rows)) and all("logit" in answer for answer in answers)
    compared, unequal = compare(place, answers, asked, command, model)
    about = {"bench": "many", "rows": asked.rows, "model": "tiny" if asked.tiny else model, "dtype": asked.dtype}
    figures = {
        "blocks": len(kept),
        "kills": asked.kills,
        "finished_before_a_kill": len(finished),
        "computed_again": len(again),
        "each_row_once": whole,
        "compared": compared,
        "unequal": unequal,
        "seconds": [round(one, 1) for one in seconds],
        "rows_per_second": round(asked.rows / sum(seconds), 1),
        "peak_memory_bytes": watch.peak,
        "holds": whole and not again and not unequal,
    }
    return {**about, **figures, "machine": machine.describe(machine.PACKAGES)}


def run(command: Sequence[str], output: Path, watch: Watch, until: float | None) -> float:
    """Runs to its end, or to that part of the blocks and then kills it; gives the seconds."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        watch.look(process)
        if until is not None and len(parts(output)) >= until * _blocks(output):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return time.monotonic() - began
        time.sleep(_LOOK_SECONDS)
    if process.returncode != 0 or until is not None:
        raise SystemExit(f"rank-many ended with {process.returncode}, and was to be killed: {until is not None}")
    return time.monotonic() - began


def _blocks(output: Path) -> float:
    manifest = output / "_manifest.json"
    return len(json.loads(manifest.read_bytes())["blocks"]) if manifest.exists() else float("inf")


def parts(output: Path) -> dict[str, tuple[int, int]]:
    """Each finished block's file, and when it was written: a file written again is another inode."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in output.glob("part-*")}


def read(output: Path) -> Iterator[JsonObject]:
    for path in sorted(output.glob("part-*")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def compare(
    place: Path, answers: Sequence[JsonObject], asked: argparse.Namespace, command: Sequence[str], model: str
) -> tuple[int, int]:
    """How many rows were compared, and how many differ."""
    if not asked.sample:
        whole = place / "uninterrupted"
        subprocess.run([*command[:5], str(whole), *command[6:]], stdout=subprocess.DEVNULL, check=True)
        pairs: list[tuple[Any, Any]] = list(zip(answers, read(whole), strict=True))
    else:
        chosen = sorted(random.Random(1).sample(range(asked.rows), min(asked.sample, asked.rows)))
        given = [row for number, row in enumerate(rows(asked.rows)) if number in set(chosen)]
        scores = Reranker.load(model, dtype=asked.dtype).score([(row["query"], row["document"]) for row in given])
        pairs = [(answers[number]["logit"], score.logit) for number, score in zip(chosen, scores, strict=True)]
    return len(pairs), sum(one != other for one, other in pairs)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    sys.exit(main())
