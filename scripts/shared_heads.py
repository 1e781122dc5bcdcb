"""What computing the common head of documents once could save: `scripts/bench shared-heads --data FOLDER [--data FOLDER ...]`.

For the queries of each BEIR folder, the first BM25 candidates are cut into Qwen3's tokens. Two documents of one query share a
head where their tokens begin alike; equal documents are counted once, as the engine computes them. Prints one JSON object a
set: for heads of at least so many tokens, the share of documents that have one, and the share of the documents' tokens that a
tree of heads would leave out. No model runs: the second figure is more than any implementation can save.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.engine.bm25 import Bm25
from gigarank.evaluation.beir import read_beir
from gigarank.evaluation.sets import EvalSet
from gigarank.types import JsonObject

HEADS = (16, 32, 64)


def heads(documents: Sequence[Sequence[int]]) -> list[int]:
    """How many tokens each document, in sorted order, has in common with the one before it; 0 for the first."""
    ordered = sorted({tuple(ids) for ids in documents})
    return [0, *(_common(before, behind) for before, behind in pairwise(ordered))]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def shared(of_queries: Sequence[Sequence[Sequence[int]]]) -> JsonObject:
    """`of_queries`: each query's documents in tokens."""
    found = [heads(documents) for documents in of_queries]
    count = sum(len(one) for one in found)
    tokens = sum(len(ids) for documents in of_queries for ids in {tuple(ids) for ids in documents})
    figures: JsonObject = {"queries": len(of_queries), "documents": count, "tokens": tokens}
    for least in HEADS:
        sharing = sum(_with_neighbour(one, least) for one in found)
        saved = sum(head for one in found for head in one if head >= least)
        figures[f"heads_of_{least}"] = {"documents": _share(sharing, count), "tokens_saved": _share(saved, tokens)}
    return figures


def _with_neighbour(found: Sequence[int], least: int) -> int:
    """Documents that share a head with the one before or behind: in sorted order nobody else shares more."""
    return sum(before >= least or behind >= least for before, behind in pairwise([*found, 0]))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def candidates(evaluation_set: EvalSet, top_k: int, limit: int) -> Iterator[list[str]]:
    """The passages that BM25 finds first for each query."""
    passages = [document.passage for document in evaluation_set.corpus.values()]
    index = Bm25(passages)
    for query in list(evaluation_set.queries.values())[:limit]:
        yield [passages[place] for place, _ in index.search(query.text, top_k)]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench shared-heads", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, action="append", help="a BEIR folder; may be given again")
    parser.add_argument("--top-k", type=int, default=50, help="candidates of a query")
    parser.add_argument("--limit", type=int, default=100, help="queries of a set, the first ones")
    asked = parser.parse_args(arguments)
    tokenizer = qwen_tokenizer()
    for folder in asked.data:
        texts = list(candidates(read_beir(folder), asked.top_k, asked.limit))
        cut = [[one.ids for one in tokenizer.encode_batch([" " + text for text in found])] for found in texts]
        print(json.dumps({"data": folder.name, "top_k": asked.top_k} | shared(cut)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
