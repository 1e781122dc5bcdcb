"""Whatever texts are written as JSONL, CSV or lines, the same come back, in order, each with its place."""

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from gigarank.cli.documents import Document, Fields, Format, read_documents

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ODD = st.sampled_from(
    ["\u2028", "\x85", "\r", "\n", '"', ",", "\ufeff", "\x00", "\x1a", " ", "\\", "👩‍👧", "é", "e\u0301", "نص", "中文"]
)
TEXTS = st.lists(TEXT | st.lists(ODD, max_size=6).map("".join), min_size=1, max_size=8)
LINE = TEXT.map(lambda text: text.replace("\n", " ").rstrip("\r")).filter(lambda text: bool(text.strip()))


def read_back(content: str, form: Format, field: str = "text") -> list[Document]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents"
        path.write_bytes(content.encode())
        return read_documents([str(path)], form, Fields(field))


@given(texts=TEXTS, escaped=st.booleans(), as_objects=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_jsonl(texts: list[str], escaped: bool, as_objects: bool, end: str) -> None:
    rows = [{"n": n, "body": text} if as_objects else text for n, text in enumerate(texts)]
    content = "".join(json.dumps(row, ensure_ascii=escaped) + end for row in rows)
    documents = read_back(content, "jsonl", "body")
    assert [document.text for document in documents] == texts
    assert [document.source.line for document in documents] == list(range(1, len(texts) + 1))


# A writer that ends lines with "\n" leaves a lone "\r" unquoted, which is no CSV: there it must quote all.
WRITERS = [("\r\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_ALL)]


@given(texts=TEXTS, how=st.sampled_from(WRITERS))
def test_csv(texts: list[str], how: tuple[str, Literal[0, 1, 2, 3]]) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator=how[0], quoting=how[1])
    writer.writerow(["id", "body"])
    writer.writerows(enumerate(texts))
    documents = read_back(written.getvalue(), "csv", "body")
    assert [document.text for document in documents] == texts
    assert [document.source.row for document in documents] == list(range(1, len(texts) + 1))


@given(texts=st.lists(LINE, min_size=1, max_size=8), end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
def test_lines(texts: list[str], end: str, last: bool) -> None:
    content = end.join(texts) + (end if last else "")
    content = "\ufeff" + content  # a mark before the first line, so that a text that begins with one keeps its own
    documents = read_back(content, "lines")
    assert [document.text for document in documents] == texts
    assert [document.source.line for document in documents] == list(range(1, len(texts) + 1))


@given(text=TEXT.filter(lambda text: bool(text.strip())))
def test_a_whole_file(text: str) -> None:
    assert [document.text for document in read_back("\ufeff" + text, "text")] == [text]
