"""Training rows and a test set of a domain, from Python's own library: `python examples/own_domain.py FOLDER`.

The question is what a function's documentation says first, the answer its code, and the negatives are the functions whose
code shares most words with the question. Every fifth function is for the test set, in FOLDER/test, and in no row of
FOLDER/rows.jsonl.
"""

import ast
import json
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from gigarank.engine.bm25 import Bm25

LONGEST = 1_500


def functions() -> dict[str, str]:
    """Code without its documentation, by what the documentation says first."""
    found: dict[str, str] = {}
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.FunctionDef) and len(node.body) > 1 and (text := ast.get_docstring(node)):
                node.body, node.name = node.body[1:], "function"
                code, question = ast.unparse(node), text.split("\n\n")[0].replace("\n", " ")
                if 30 <= len(question) <= 200 and len(code) <= LONGEST:
                    found.setdefault(question, code)
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    questions, codes = map(list, zip(*functions().items(), strict=True))
    test = range(0, len(codes), 5)
    train = [place for place in range(len(codes)) if place not in test]
    (folder / "test" / "qrels").mkdir(parents=True)
    write(folder / "test" / "corpus.jsonl", ({"_id": f"d{place}", "text": codes[place]} for place in test))
    write(folder / "test" / "queries.jsonl", ({"_id": f"q{place}", "text": questions[place]} for place in test))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{place}\td{place}\t1" for place in test)]
    (folder / "test" / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    index = Bm25([codes[place] for place in train])
    rows = []
    for place in train:
        near = [train[found] for found, _ in index.search(questions[place], 6) if train[found] != place][:5]
        rows.append(
            {"query": questions[place], "documents": [codes[one] for one in (place, *near)], "labels": [1] + [0] * len(near)}
        )
    write(folder / "rows.jsonl", rows)
    print(f"{len(rows)} rows, {len(test)} test questions")


def write(path: Path, rows: Iterable[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
