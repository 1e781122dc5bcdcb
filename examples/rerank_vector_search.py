"""Search by vectors, re-ranked: usearch finds ten texts, the reranker orders them.

`python examples/rerank_vector_search.py [MODEL]`. The vectors are latent semantic analysis, TF-IDF reduced to 32 dimensions,
because that needs no download. An embedding model takes its place without another change: `gigarank.Embedder`, for one.
"""

import sys

from library_texts import library_texts
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from usearch.index import Index

from gigarank import Reranker

QUERY = "copy a whole directory tree"
DIMENSIONS = 32


def main() -> None:
    texts = library_texts()
    names = list(texts)
    embed = make_pipeline(TfidfVectorizer(sublinear_tf=True), TruncatedSVD(DIMENSIONS, random_state=0))
    vectors = embed.fit_transform(list(texts.values())).astype("float32")
    store = Index(ndim=DIMENSIONS, metric="cos")
    store.add(range(len(names)), vectors)
    found = store.search(embed.transform([QUERY]).astype("float32")[0], 10)
    candidates = [names[place] for place in found.keys]
    reranker = Reranker.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
    ranking = reranker.rank(QUERY, [texts[name] for name in candidates], top_n=5)
    print("vectors:  ", ", ".join(f"{name} {1 - far:.2f}" for name, far in zip(candidates[:5], found.distances, strict=False)))
    print("re-ranked:", ", ".join(f"{candidates[score.index]} {score.relevance_score:.2f}" for score in ranking))


if __name__ == "__main__":
    main()
