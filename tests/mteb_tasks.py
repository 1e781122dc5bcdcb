"""Small local tasks for mteb, which need no hub: one of retrieval, one of instructions with p-MRR as FollowIR has it."""

from typing import Any, ClassVar

from datasets import Dataset
from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from gigarank.evaluation.suites import SuiteTask

DOCUMENTS = {
    "d1": "Mars is called the Red Planet because of the iron oxide on its surface.",
    "d2": "Venus is the hottest planet of the solar system.",
    "d3": "Jupiter is the largest planet and has a red spot.",
    "d4": "Whales are mammals that live in the sea and breathe air.",
    "d5": "Sharks are fish; they breathe through gills.",
    "d6": "Bread is baked from flour, water, salt and yeast.",
    "d7": "Yeast turns sugar into carbon dioxide and alcohol.",
    "d8": "The sea is salty because rivers carry minerals into it.",
}
QUERIES = {"q1": "red planet", "q2": "animals in the sea", "q3": "what makes bread rise", "q4": "salt"}
QRELS = {"q1": {"d1": 2, "d3": 1}, "q2": {"d4": 1, "d5": 1}, "q3": {"d7": 1, "d6": 1}, "q4": {"d8": 1, "d6": 1}}

RETRIEVAL = SuiteTask("TinyRetrieval", "local/tiny", "1", "Given a topic, retrieve texts about it")
INSTRUCTED = SuiteTask("TinyInstructed", "local/instructed", "1", metric="p-MRR")


def metadata(described: SuiteTask) -> TaskMetadata:
    kind = "InstructionReranking" if described.metric == "p-MRR" else "Retrieval"
    return TaskMetadata(
        name=described.name,
        description="tiny",
        reference=None,
        dataset={"path": described.dataset, "revision": described.revision},
        type=kind,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=described.metric,
        date=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        dialect=None,
        sample_creation=None,
        bibtex_citation=None,
    )


def corpus() -> Dataset:
    rows = [{"id": key, "title": "Sky" if key == "d2" else "", "text": text} for key, text in DOCUMENTS.items()]
    return Dataset.from_list(rows)


class TinyRetrieval(AbsTaskRetrieval):  # type: ignore[misc]
    metadata = metadata(RETRIEVAL)

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        queries = Dataset.from_list([{"id": key, "text": text} for key, text in QUERIES.items()])
        qrels = {query: dict(judged) for query, judged in QRELS.items()}
        data = {"corpus": corpus(), "queries": queries, "relevant_docs": qrels, "top_ranked": None}
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True


class TinyInstructed(AbsTaskRetrieval):  # type: ignore[misc]
    """Each query twice, its second instruction excludes a document that the first one wants."""

    metadata = metadata(INSTRUCTED)
    changed_qrels: ClassVar = {"q1": ["d3"], "q2": ["d5", "d4"]}

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        told = {"-og": "Find everything about it.", "-changed": "Find it, but nothing about what is large or has gills."}
        rows = [
            {"id": query + ending, "text": QUERIES[query], "instruction": instruction}
            for query in ("q1", "q2")
            for ending, instruction in told.items()
        ]
        qrels = {row["id"]: dict(QRELS[row["id"][:2]]) for row in rows}
        ranked = {row["id"]: list(DOCUMENTS) for row in rows}
        data = {"corpus": corpus(), "queries": Dataset.from_list(rows), "relevant_docs": qrels, "top_ranked": ranked}
        self.dataset = {"default": {"test": data}}
        self.data_loaded = True

    def task_specific_scores(self, scores: Any, qrels: Any, results: Any, hf_split: str, hf_subset: str) -> dict[str, float]:
        found: dict[str, float] = evaluate_p_mrr_change(qrels, results, self.changed_qrels, self.k_values)
        return found
