"""A BEIR folder as rows: one a query, its judged documents with it.

Reads corpus.jsonl (only what is judged stays in memory), queries.jsonl and qrels/SPLIT.tsv. Knows nothing of measuring.
Invariant: a judged query or document that the folder does not hold is refused, not left out.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gigarank.errors import BadFile
from gigarank.training.lines import Line, read_lines
from gigarank.training.rows import Row

Judged = dict[str, dict[str, int]]


def read(folder: Path, split: str, least_grade: int) -> Iterator[tuple[str, Row]]:
    """Rows in the order of the qrels, each with its place there. Grades from `least_grade` up are positive.

    Raises BadFile that names file and line.
    """
    path = folder / "qrels" / f"{split}.tsv"
    judged, places = _read_qrels(path)
    queries = _texts(folder / "queries.jsonl", set(judged))
    corpus = _texts(folder / "corpus.jsonl", {document for grades in judged.values() for document in grades})
    for query, grades in judged.items():
        place = f"{path}:{places[query]}"
        yield (
            place,
            Row(
                query=_found(queries, query, place, folder / "queries.jsonl"),
                documents=tuple(_found(corpus, document, place, folder / "corpus.jsonl") for document in grades),
                labels=tuple(float(grade >= least_grade) for grade in grades.values()),
                scores=None,
                instruction=None,
                task=None,
                language=None,
            ),
        )


def _read_qrels(path: Path) -> tuple[Judged, dict[str, int]]:
    """Grades by query and document, and the line at which each query begins."""
    judged: Judged = {}
    places: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.tsv"))) or "none"
        raise BadFile(f"{path}: cannot be read; splits that are here: {known}", param="split", received=path.stem) from error
    for number, line in enumerate(lines, 1):
        parts = line.split("\t")
        if not line.strip() or (number == 1 and parts[-1].strip() in ("score", "relevance")):
            continue
        if len(parts) not in (3, 4) or not parts[-1].strip().lstrip("-").isdigit():
            raise BadFile(f"{path}:{number}: must be query, document and grade between tabs", param="qrels", received=line)
        query, document = parts[0], parts[-2]
        judged.setdefault(query, {})[document] = int(parts[-1])
        places.setdefault(query, number)
    return judged, places


def _texts(path: Path, wanted: set[str]) -> dict[str, str]:
    found = {}
    for line in read_lines(path):
        if (key := line.values.get("_id")) in wanted and isinstance(key, str):
            found[key] = passage(line)
    return found


def passage(line: Line) -> str:
    """Title and text of a corpus row, or the one that is not empty."""
    return "\n".join(part for part in (line.optional("title"), line.optional("text")) if part) or line.text("text")


def _found(texts: Mapping[str, str], key: str, place: str, path: Path) -> str:
    if key not in texts:
        raise BadFile(f"{place}: {key!r} is judged, but {path} does not hold it", param="qrels", received=key)
    return texts[key]
