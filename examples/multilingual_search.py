"""One question, passages in five languages: `python examples/multilingual_search.py [MODEL]`."""

import json
import sys
from pathlib import Path

from gigarank import Reranker

QUERY = "How do plants turn sunlight into energy?"


def main() -> None:
    lines = Path(__file__).with_name("multilingual.jsonl").read_text(encoding="utf-8").splitlines()
    passages = [json.loads(line) for line in lines]
    reranker = Reranker.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
    for score in reranker.rank(QUERY, [passage["text"] for passage in passages], top_n=5):
        passage = passages[score.index]
        print(f"{score.relevance_score:.3f}  {passage['language']}  {passage['text']}")


if __name__ == "__main__":
    main()
