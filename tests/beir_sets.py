"""A small set in BEIR's files, for tests of evaluation."""

import json
from pathlib import Path

QUERIES, DOCUMENTS = 12, 5


def write_set(folder: Path, *, words: int = 8, candidates: bool = True) -> Path:
    """Topics of their own words; each query's relevant document is the one about its topic."""
    (folder / "qrels").mkdir(parents=True)
    texts = [f"topic{n} " + " ".join(f"word{n * word % 97}" for word in range(words)) for n in range(QUERIES)]
    rows = [{"_id": f"d{n}", "text": text} for n, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"_id": f"q{n}", "text": f"what is topic{n}"} for n in range(QUERIES)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(QUERIES))
    )
    if candidates:
        pairs = [(n, (n + step) % QUERIES) for n in range(QUERIES) for step in range(DOCUMENTS)]
        lines = "".join(f"q{query}\td{document}\n" for query, document in pairs)
        (folder / "candidates.tsv").write_text("query-id\tcorpus-id\n" + lines)
    return folder
