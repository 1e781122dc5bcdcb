"""Rank the passages of a JSONL file with the library: `python examples/rerank.py [QUERY]`."""

import json
import sys
from pathlib import Path

from gigarank import Reranker

QUERY = "How do plants turn sunlight into energy?"


def main() -> None:
    query = sys.argv[1] if len(sys.argv) > 1 else QUERY
    lines = Path(__file__).with_name("multilingual.jsonl").read_text(encoding="utf-8").strip().split("\n")
    documents = [json.loads(line)["text"] for line in lines]
    reranker = Reranker.load("nano")
    for score in reranker.rank(query, documents, top_n=3):
        print(f"{score.relevance_score:.3f}  {documents[score.index]}")


if __name__ == "__main__":
    main()
