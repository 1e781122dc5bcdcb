"""How long gigarank takes to start, each in a new process: the help, the list of models, a model's first score.

    python scripts/start_speed.py [--repeats N] [--model MODEL ...] [--dtype DTYPE]

The files are read once before, so that the disk is warm. The median of the repeats is shown, with the fastest and the slowest,
as a Markdown table and one line of JSON. Exit code 1: a limit that is stated for it was missed. The limits are for a machine
that does nothing else.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from gigarank.bench import machine

LIMITS_S = {"gigarank --help": 0.3, "gigarank models": 1.0, "nano: ready": 4.0}
_PROGRAM = "import sys; from gigarank.cli import main; sys.exit(main())"
_LOAD = """
import sys
from gigarank.engine.reranker import Reranker
reranker = Reranker.load(sys.argv[1], dtype=sys.argv[2])
if sys.argv[3] == "score":
    reranker.score([("Which planet is red?", "Mars is the red planet.")])
"""


def commands(models: Sequence[str], dtype: str) -> dict[str, list[str]]:
    """What is timed, by what it is called."""
    found = {"gigarank --help": ["-c", _PROGRAM, "--help"], "gigarank models": ["-c", _PROGRAM, "models"]}
    for model in models:
        found[f"{model}: ready"] = ["-c", _LOAD, model, dtype, "load"]
        found[f"{model}: first score"] = ["-c", _LOAD, model, dtype, "score"]
    return found


def seconds(command: Sequence[str], repeats: int) -> list[float]:
    """Of `repeats` runs after one that warms the disk."""
    taken = []
    for turn in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if turn:
            taken.append(time.perf_counter() - started)
    return taken


def table(found: dict[str, list[float]]) -> str:
    lines = ["| start | median | fastest | slowest | limit |", "|---|---|---|---|---|"]
    for name, taken in found.items():
        shown = " | ".join(f"{value:.2f} s" for value in (statistics.median(taken), min(taken), max(taken)))
        lines.append(f"| {name} | {shown} | {f'{LIMITS_S[name]:g} s' if name in LIMITS_S else '-'} |")
    return "\n".join(lines)


def missed(found: dict[str, list[float]]) -> list[str]:
    """The names whose median is above their limit."""
    return [name for name, taken in found.items() if statistics.median(taken) > LIMITS_S.get(name, float("inf"))]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", action="append", help="a name or a folder (nano)")
    parser.add_argument("--dtype", default="auto")
    asked = parser.parse_args(arguments)
    found = {name: seconds(command, asked.repeats) for name, command in commands(asked.model or ["nano"], asked.dtype).items()}
    print(table(found))
    about = machine.describe(machine.PACKAGES)
    print(json.dumps({"bench": "start", "dtype": asked.dtype, "seconds": found, "missed": missed(found), "machine": about}))
    return 1 if missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
