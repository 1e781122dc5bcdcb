"""What accounts cost a request, on SQLite and PostgreSQL: a table and one line of JSON for each `--model-ms`.

    python scripts/hosted_speed.py [--databases sqlite,postgres] [--clients N] [--requests N] [--repeats N]
                                   [--model-ms 250,200-300] [--documents N] [--bytes N]

PostgreSQL is one that scripts/postgres starts and ends. Exit code 2: nothing more was measured, and why.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gigarank.bench import machine
from gigarank.bench.hosted import Settings, run
from gigarank.bench.serve_bodies import Workload
from gigarank.errors import GigarankError, InvalidInput
from gigarank.types import JsonObject

POSTGRES = Path(__file__).with_name("postgres")
NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
PACKAGES = ("gigarank", "fastapi", "uvicorn", "sqlalchemy", "psycopg", "aiohttp")


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        for model_ms in read_models(asked.model_ms):
            result = _measure(asked, model_ms)
            print("\n".join(table(result)) + "\n")
            print(json.dumps(result | {"machine": machine.describe(PACKAGES)}), flush=True)
    except GigarankError as error:
        print(f"hosted: error: {error}", file=sys.stderr)
        return 2
    return 0


def _measure(asked: argparse.Namespace, model_ms: tuple[float, float]) -> JsonObject:
    with tempfile.TemporaryDirectory(prefix="gigarank-hosted-") as place, _databases(asked.databases) as urls:
        workload = Workload(asked.documents, asked.bytes, "fake")
        settings = Settings(urls, asked.clients, asked.requests, asked.repeats, model_ms, workload)
        return run(settings, Path(place), lambda text: print(text, file=sys.stderr))


def read_models(text: str) -> list[tuple[float, float]]:
    """(least, most) of each. Raises InvalidInput."""
    found = []
    for one in text.split(","):
        least, _, most = one.strip().partition("-")
        try:
            bounds = float(least), float(most or least)
        except ValueError:
            bounds = -1.0, -1.0
        if not 0.0 <= bounds[0] <= bounds[1] < 1e6:
            message = f"model-ms: milliseconds, or the least and the most as 200-300, are expected; received {one!r}"
            raise InvalidInput(message, param="model-ms", received=one)
        found.append(bounds)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--databases", default="sqlite,postgres", help=f"{', '.join(NAMES)}; several with commas")
    parser.add_argument("--clients", type=int, default=50, help="closed loops of so many clients")
    parser.add_argument("--requests", type=int, default=1_000, help="to each server in each round")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; every server has its turn in each")
    model_help = "how long the model takes, or from what to what; several with commas; 0 is the server alone"
    parser.add_argument("--model-ms", default="250,200-300", help=model_help)
    parser.add_argument("--documents", type=int, default=10, help="documents of a request")
    parser.add_argument("--bytes", type=int, default=200, help="bytes of a document")
    return parser


@contextmanager
def _databases(names: str) -> Iterator[dict[str, str]]:
    """Empty ones: their URLs by the names that are shown."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or not set(wanted) <= set(NAMES):
        raise InvalidInput(f"databases: {', '.join(NAMES)}; received {names!r}", param="databases", received=names)
    if "postgres" not in wanted:
        yield {NAMES[name]: "" for name in wanted}
        return
    folder = tempfile.mkdtemp(prefix="gigarank-pg-")
    done = subprocess.run((POSTGRES, "start", folder), capture_output=True, text=True, check=False)
    if done.returncode:
        raise GigarankError(f"no PostgreSQL: {done.stderr.strip()}")
    try:
        yield {NAMES[name]: done.stdout.strip() if name == "postgres" else "" for name in wanted}
    finally:
        subprocess.run((POSTGRES, "stop", folder), check=True)


def table(result: JsonObject) -> list[str]:
    """A server a row."""
    asked = result["workload"]
    size = f"{asked['documents']} documents of {asked['document_bytes']} bytes"
    least, most = result["model_ms"]
    took = f"{least:g} to {most:g} ms" if most > least else f"{most:g} ms" if most else "no time"
    model = f"a model that takes {took}"
    title = f"{result['clients']} clients, {size}, {model}, {result['repeats']} rounds of {result['requests']} requests"
    heading = ["accounts", "p50", "p95", "requests/s", "CPU a request", "p50 more", "p95 more", "CPU more", "of the requests/s"]
    rows = [heading, ["---"] * len(heading), *(_row(one) for one in result["results"])]
    return [title, "", *("| " + " | ".join(row) + " |" for row in rows)]


def _row(one: JsonObject) -> list[str]:
    own = [f"{one['p50']:.4g} ms", f"{one['p95']:.4g} ms", f"{one['requests_per_second']:.4g}", f"{one['cpu_ms']:.3g} ms"]
    if "more_p50_ms" not in one:
        return [one["name"], *own, *["-"] * 4]
    more = [_spread(one[name], "{:.1f}", " ms") for name in ("more_p50_ms", "more_p95_ms", "more_cpu_ms")]
    return [one["name"], *own, *more, _spread(one["requests_ratio"], "{:.2f}", "")]


def _spread(found: JsonObject, form: str, unit: str) -> str:
    middle, least, most = (form.format(found[name]) for name in ("median", "min", "max"))
    return f"{middle}{unit} ({least} to {most})"


if __name__ == "__main__":
    sys.exit(main())
