"""Small labelled sets and results of them, written as the evaluation writes them: figures by the real metrics, scores given."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gigarank.evaluation.beir import read_beir
from gigarank.evaluation.figures import measure
from gigarank.evaluation.journal import QueryScores
from gigarank.evaluation.sets import EvalSet
from gigarank.evaluation.store import (
    Cost,
    FirstStageInfo,
    ModelInfo,
    PairScore,
    Provenance,
    SetInfo,
    TaskResult,
    write_result,
)
from gigarank.evaluation.task import Task
from gigarank.evaluation.trec import write_qrels

TEXTS = ("bread rises with yeast", "yeast is a fungus", "stones do not rise", "a river carries stones", "rain fills the river")
Logits = Mapping[str, Sequence[float]]


def write_set(folder: Path, queries: int = 6, *, texts: Sequence[str] = TEXTS, languages: Sequence[str] = ("en",)) -> Path:
    """A BEIR folder: of query N the document N modulo 5 is relevant, the next one judged not to be."""
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)]
    asked = [
        {"_id": f"q{n}", "text": f"question {n} of {folder.name}", "lang": languages[n % len(languages)]}
        for n in range(queries)
    ]
    for name, rows in (("corpus", documents), ("queries", asked)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    judged = [f"q{n}\td{n % 5}\t1\nq{n}\td{(n + 1) % 5}\t0\n" for n in range(queries)]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged), encoding="utf-8")
    return folder


def right(queries: int = 6) -> dict[str, list[float]]:
    """Logits that put every relevant document first."""
    return {f"q{n}": [3.0 if place == n % 5 else -1.0 - place for place in range(5)] for n in range(queries)}


def wrong(queries: int = 6) -> dict[str, list[float]]:
    """Logits that put every relevant document last."""
    return {query: [-logit for logit in logits] for query, logits in right(queries).items()}


def make_result(
    data: Path, logits: Logits, *, model: str = "nano", fuse_weight: float | None = 1.0, **changes: Any
) -> TaskResult:
    """The result of a model that gives these logits to documents d0 to d4, which are the candidates in this order."""
    chosen = read_beir(data)
    scored = scores_of(logits)
    names = ("ndcg_cut_10", "recip_rank", "P_1")
    task = Task(chosen, tuple(logits), {}, None, FirstStageInfo("own", 5, "f" * 64, "bm25"), names, "k" * 64, "m" * 64)
    measured = measure(task, scored, fuse_weight)
    languages = {query: language for query in logits if (language := chosen.queries[query].language)}
    several = len(set(languages.values())) > 1
    result = TaskResult(
        set=_info(chosen, len(logits), None if several else "en", {"query_languages": languages} if several else {}),
        model=ModelInfo(model, f"{model}-weights", "nano-v1", 100),
        instruction=None,
        first_stage=task.first_stage,
        numerics={"dtype": "fp32", "device": "cpu"},
        limit=None,
        main_metric="ndcg_cut_10",
        metrics=measured.metrics,
        by_query=measured.by_query,
        cost=Cost(5 * len(logits), 40 * len(logits), 0.5, 10.0 * len(logits)),
        provenance=Provenance("0.1.0", "c" * 40, {"torch": "2"}, {"cores": 2, "cpu": "a cpu"}, "2026-01-01", "2026-01-02"),
        key=task.key,
        metrics_key=task.metrics_key,
        fuse_weight=fuse_weight,
    )
    return dataclasses.replace(result, **changes)


def _info(chosen: EvalSet, queries: int, language: str | None, notes: dict[str, Any]) -> SetInfo:
    return SetInfo(chosen.name, chosen.fingerprint, queries, 5 * queries, language, None, {"split": "test", **notes})


def scores_of(logits: Logits) -> dict[str, QueryScores]:
    return {
        query: QueryScores(
            query, tuple(PairScore(query, f"d{n}", logit, 5.0 - n, 8, False) for n, logit in enumerate(values)), (), 0.1
        )
        for query, values in logits.items()
    }


def write_measured(folder: Path, data: Path, logits: Logits, **changes: Any) -> Path:
    """The result and its scores below `folder`, as `gigarank eval run` leaves them; the path of the JSON."""
    result = make_result(data, logits, **changes)
    path = folder / result.model.name / f"{data.name}.json"
    write_result(path, result)
    rows = [
        {"query": query, "seconds": 0.1, "documents": [[f"d{n}", logit, 5.0 - n, 8, False] for n, logit in enumerate(values)]}
        for query, values in logits.items()
    ]
    lines = "".join(json.dumps(row) + "\n" for row in ({"format": 1, "key": result.key}, *rows))
    path.with_name(f"{data.name}.scores.jsonl").write_text(lines, encoding="utf-8")
    qrels = read_beir(data).qrels
    write_qrels(path.with_suffix(".qrels"), {query: qrels[query] for query in logits})
    return path
