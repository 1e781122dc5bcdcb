"""What cutting words by script is worth to BM25: `scripts/bench word-cutting --data FOLDER [--data FOLDER ...]`.

Every query of each BEIR folder is searched in its whole corpus twice: with words as gigarank cuts them, and with runs of two
or more letters, the default of bm25s and of scikit-learn, which in a script without blanks takes a sentence for one word.
Prints one JSON object a set: the mean nDCG@10 of both.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

from gigarank.engine import bm25
from gigarank.engine.words import words
from gigarank.evaluation.beir import read_beir
from gigarank.evaluation.metrics import by_query
from gigarank.evaluation.sets import EvalSet

METRIC = "ndcg_cut_10"
TOP_K = 10


def naive(text: str) -> list[str]:
    """What does not know that some scripts have no blanks."""
    return re.findall(r"\b\w\w+\b", text.lower())


def quality(evaluation_set: EvalSet, cut: Callable[[str], list[str]]) -> float:
    """The mean nDCG@10 of BM25 over the words that `cut` makes of every text."""
    documents = list(evaluation_set.corpus.values())
    with patch.object(bm25, "words", cut):
        index = bm25.Bm25([document.passage for document in documents])
        asked = [query for query in evaluation_set.queries if any(evaluation_set.qrels.get(query, {}).values())]
        run = {
            query: {documents[place].id: score for place, score in index.search(evaluation_set.queries[query].text, TOP_K)}
            for query in asked
        }
    found = by_query({query: evaluation_set.qrels[query] for query in asked}, run, [METRIC])
    return sum(figures[METRIC] for figures in found.values()) / len(asked)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench word-cutting", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, action="append", help="a BEIR folder; may be given again")
    for folder in parser.parse_args(arguments).data:
        evaluation_set = read_beir(folder)
        figures = {"by_script": quality(evaluation_set, words), "naive": quality(evaluation_set, naive)}
        print(json.dumps({"data": folder.name, "queries": len(evaluation_set.queries), "metric": METRIC} | figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
