"""How many hand-written questions a model answers with the right one of four documents.

    python cases.py [--model nano] [--adapter FOLDER]

Twice ten: of cases_plain.jsonl, whose wrong answers are about something else, and of cases.jsonl, whose wrong answers share the
question's words. A line a case, then the number. Ten cases say whether a model is broken, not how good it is.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gigarank import Reranker

FILES = ("cases_plain.jsonl", "cases.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter")
    given = parser.parse_args()
    reranker = Reranker.load(given.model, adapter=given.adapter)
    for name in FILES:
        cases = [json.loads(line) for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()]
        print(f"{name}: {sum([show(reranker, case) for case in cases])} of {len(cases)}")


def show(reranker: Reranker, case: dict[str, Any]) -> bool:
    """Whether the right document comes first; printed."""
    first = reranker.rank(case["query"], case["documents"])[0].index
    right: bool = first == case["best"]
    print("right" if right else "wrong", case["query"], "->", case["documents"][first].splitlines()[0])
    return right


if __name__ == "__main__":
    main()
