"""Figures that others published, each with where it stands. Data; nothing of it was measured here.

Candidates: the first 100 of Qwen3-Embedding-0.6B. nDCG@10 as the mean over tasks, times 100; FollowIR is p-MRR times 100.
"""

from collections.abc import Mapping

from gigarank.catalogue import SUITES

SOURCE = ("arXiv 2506.05176 and the models' cards", "https://arxiv.org/abs/2506.05176")
RIVALS: Mapping[str, Mapping[str, float]] = {
    "Jina-multilingual-reranker-v2-base": dict(zip(SUITES, (58.22, 63.37, 63.73, 39.66, 58.98, -0.68), strict=True)),
    "gte-multilingual-reranker-base": dict(zip(SUITES, (59.51, 74.08, 59.44, 66.33, 54.18, -1.64), strict=True)),
    "BGE-reranker-v2-m3": dict(zip(SUITES, (57.03, 72.16, 58.36, 59.51, 41.38, -0.01), strict=True)),
}
MEANING: Mapping[str, str] = {
    "MTEB-R": "English retrieval, 10 tasks",
    "CMTEB-R": "Chinese retrieval, 8 tasks",
    "MMTEB-R": "many languages, 18 tasks",
    "MLDR": "long documents, 13 languages",
    "MTEB-Code": "code, 12 tasks",
    "FollowIR": "following instructions, p-MRR",
}
