"""Search by words, re-ranked: BM25 finds ten texts, the reranker orders them: `python examples/rerank_bm25.py [MODEL]`."""

import sys

import bm25s
from library_texts import library_texts

from gigarank import Reranker

QUERY = "copy a whole directory tree"


def main() -> None:
    texts = library_texts()
    names = list(texts)
    index = bm25s.BM25()
    index.index(bm25s.tokenize(list(texts.values()), show_progress=False), show_progress=False)
    found, scores = index.retrieve(bm25s.tokenize(QUERY, show_progress=False), k=10, show_progress=False)
    candidates = [names[place] for place in found[0]]
    reranker = Reranker.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
    ranking = reranker.rank(QUERY, [texts[name] for name in candidates], top_n=5)
    print("BM25:     ", ", ".join(f"{name} {score:.2f}" for name, score in zip(candidates[:5], scores[0], strict=False)))
    print("re-ranked:", ", ".join(f"{candidates[score.index]} {score.relevance_score:.2f}" for score in ranking))


if __name__ == "__main__":
    main()
