"""`scripts/drill NAME|all [--json]`: the drills at full size. Exit code 1 where something is not as it must be."""

import argparse
import json
import sys

from drills.network import Impossible
from drills.run import DRILLS, perform
from drills.verdict import HEAD


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/drill", description="Breaks something of real servers while clients ask.")
    parser.add_argument("names", nargs="+", choices=("all", *DRILLS), metavar="NAME", help=", ".join(("all", *DRILLS)))
    parser.add_argument("--requests", type=int, default=300, help="of a phase: before, during and after the fault")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="a line of JSON a drill, and no table")
    asked = parser.parse_args()
    names = list(DRILLS) if "all" in asked.names else asked.names
    if not asked.json:
        print(HEAD, flush=True)
    return max([_drill(name, asked) for name in names])


def _drill(name: str, asked: argparse.Namespace) -> int:
    """0 where all is as it must be, or where this machine cannot tell."""
    try:
        verdict = perform(name, asked.requests, asked.clients)
    except Impossible as reason:
        print(f"{name}: not done: {reason}", file=sys.stderr)
        return 0
    except AssertionError as failure:
        print(f"{name}: broken off: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(verdict.line) if asked.json else verdict.row, flush=True)
    return int(bool(verdict.faults))


if __name__ == "__main__":
    sys.exit(main())
