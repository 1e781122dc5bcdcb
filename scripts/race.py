"""The race against other ways to run the same checkpoint, each in an environment of its own; a table and one line of JSON.

    python scripts/race.py [--shape SHAPE] [--layers N] [--workload NAMES] [--docs N] [--tokens N] [--rounds N] [--threads N]
                           [--contestants NAMES] [--environments FOLDER] [--record FILE]

Random weights of an official shape. What was measured is kept in the record, and the same command goes on from there; who did
not run is tried again. Exit code 1: our own engine does not run; 2: an option that cannot be run. A contestant that cannot be
set up, fails or computes other scores is a row with its reason.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gigarank.bench import machine
from gigarank.bench.checkpoint import SHAPES, shape_of, write_checkpoint
from gigarank.bench.race import RaceFailed, Track, check, run
from gigarank.bench.race_entries import ABSENT, ENTRIES, Entry
from gigarank.bench.race_record import Record
from gigarank.bench.race_table import table
from gigarank.bench.workloads import Request, request, select
from gigarank.cli.output import note
from gigarank.engine.presence import cache_folder
from gigarank.errors import GigarankError, InvalidInput
from gigarank.types import JsonObject


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        entries = chosen(asked.contestants)
        check(entries, asked.rounds)
        shape, prompt = shape_of(asked.shape, asked.layers)
        workloads = select(asked.workload, asked.docs, asked.tokens)
    except GigarankError as error:
        note(f"race: error: {error}")
        return 2
    with tempfile.TemporaryDirectory(prefix="gigarank-race-") as place:
        folder = Path(place) / "checkpoint"
        tokenizer = write_checkpoint(folder, shape, prompt)
        loads = {load.name: request(load, tokenizer, prompt) for load in workloads}
        race = identity(asked, shape.num_hidden_layers, loads)
        try:
            record = Record(asked.record or cache_folder() / "race" / f"{asked.shape}.json", race)
            track = Track(folder, asked.environments, Path(place) / "logs", asked.threads, record)
            found = run(entries, track, loads, asked.rounds, note)
        except (InvalidInput, RaceFailed) as error:
            note(f"race: error: {error}")
            return 2 if isinstance(error, InvalidInput) else 1
    about: JsonObject = {"bench": "race", "shape": asked.shape, "layers": shape.num_hidden_layers}
    about |= found | {"absent": ABSENT, "machine": machine.describe(machine.PACKAGES), "took_s": round(record.seconds)}
    told = f"{asked.shape}, {shape.num_hidden_layers} layers, {asked.threads} threads, {asked.rounds} rounds"
    print(f"{told}, {record.seconds / 60:.0f} minutes in all\n\n{table(about)}\n")
    print(json.dumps(about))
    return 0


def identity(asked: argparse.Namespace, layers: int, loads: dict[str, Request]) -> JsonObject:
    """What must be the same for figures to be of one race."""
    sizes = {name: [len(load.documents), load.read_tokens] for name, load in loads.items()}
    told = {"shape": asked.shape, "layers": layers, "workloads": sizes, "rounds": asked.rounds, "threads": asked.threads}
    return told | {"cpu": machine.cpu_model(), "versions": machine.versions(("gigarank", "torch"))}


def chosen(names: str) -> list[Entry]:
    """The contestants of a comma-separated list, and whom of ours they race. Raises InvalidInput."""
    known = {entry.name: entry for entry in ENTRIES}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            shown = ", ".join(known)
            raise InvalidInput(f"contestants: {name!r} is not among {shown}", param="contestants", limit=shown, received=name)
    named = {*wanted, ENTRIES[0].name, *(known[name].against for name in wanted)}
    return [entry for entry in ENTRIES if not wanted or entry.name in named]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", default="0.6b", choices=list(SHAPES))
    parser.add_argument("--layers", type=int, help="shorten the model for a look; the result says so")
    parser.add_argument("--workload", default="passages,short")
    parser.add_argument("--docs", type=int, help="documents, instead of the workload's own number")
    parser.add_argument("--tokens", type=int, help="tokens a document, instead of the workload's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--contestants", default="", help="names with commas; all of them if none is given")
    parser.add_argument(
        "--environments", type=Path, default=cache_folder() / "race", help="where the others' packages are kept"
    )
    parser.add_argument("--record", type=Path, help="the file of what was measured; in the cache folder, named as the shape")
    return parser


if __name__ == "__main__":
    sys.exit(main())
