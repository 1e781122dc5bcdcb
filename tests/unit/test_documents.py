"""Reading: every form gives its texts with their places, and every broken input one sentence that says where."""

import re
from pathlib import Path

import pytest

from gigarank.cli.documents import Document, Fields, Format, Source, format_of, read_documents
from gigarank.errors import BadFile


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def read(file: str, form: Format | None = None, field: str = "text") -> list[Document]:
    return read_documents([file], form, Fields(field))


def texts(documents: list[Document]) -> list[str]:
    return [document.text for document in documents]


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("a.jsonl", "jsonl"),
        ("a.NDJSON", "jsonl"),
        ("a.csv", "csv"),
        ("a.txt", "text"),
        ("notes", "text"),
        ("a.json", "text"),
        ("-", "lines"),
    ],
)
def test_the_suffix_chooses_the_form(file: str, form: Format) -> None:
    assert format_of(file) == form


def test_a_text_file_is_one_document_as_it_is(tmp_path: Path) -> None:
    file = write(tmp_path, "a.md", "# One\n\n  two \r\n")
    assert read(file) == [Document("# One\n\n  two \r\n", Source(file))]


def test_lines_are_documents_with_their_numbers_and_blank_ones_are_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, "a.txt", "one\r\n\n \t\ntwo  \nthree")
    expected = [("one", 1), ("two  ", 4), ("three", 5)]
    assert [(d.text, d.source.line) for d in read(file, "lines")] == expected


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    inside = "a\u2028b\u2029c\x85d\x0be\x0cf\rg\x1ch"
    assert texts(read(write(tmp_path, "a.txt", inside + "\nnext\n"), "lines")) == [inside, "next"]
    assert texts(read(write(tmp_path, "a.jsonl", '"a\u2028b\u2029c\x85d"\n{"text": "x\u2028y"}\n'))) == [
        "a\u2028b\u2029c\x85d",
        "x\u2028y",
    ]


def test_jsonl_rows_are_strings_or_objects_with_the_field(tmp_path: Path) -> None:
    file = write(tmp_path, "a.jsonl", '"plain"\r\n\r\n{"id": 7, "body": "from a field"}\n""\n')
    documents = read(file, field="body")
    assert texts(documents) == ["plain", "from a field", ""]
    assert [document.source.line for document in documents] == [1, 3, 4]


def test_csv_takes_the_named_column_and_counts_rows_below_the_header(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", 'id,body\r\n1,"two\nlines, ""quoted"""\r\n\r\n2,plain\r\n3,\r\n')
    documents = read(file, field="body")
    assert texts(documents) == ['two\nlines, "quoted"', "plain", ""]
    assert [document.source.row for document in documents] == [1, 2, 3]


@pytest.mark.parametrize(("name", "content"), [("a.txt", "é"), ("a.jsonl", '"é"'), ("a.csv", "text\né\n")])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str, content: str) -> None:
    assert texts(read(write(tmp_path, name, content.encode("utf-8-sig")))) == ["é"]


def test_a_byte_order_mark_inside_a_file_stays(tmp_path: Path) -> None:
    assert texts(read(write(tmp_path, "a.txt", "one\n\ufefftwo\n"), "lines")) == ["one", "\ufefftwo"]


def test_files_keep_their_order_and_blank_text_files_are_left_out(tmp_path: Path) -> None:
    files = [write(tmp_path, "b.txt", "B"), write(tmp_path, "empty.txt", " \n"), write(tmp_path, "a.jsonl", '"A"\n"C"')]
    assert texts(read_documents(files, None, Fields("text"))) == ["B", "A", "C"]


def test_blank_lines_above_a_csv_header_are_passed_over(tmp_path: Path) -> None:
    assert texts(read(write(tmp_path, "a.csv", "\n\nid,text\n1,foo\n"))) == ["foo"]


def test_a_csv_field_may_be_longer_than_the_csv_modules_default(tmp_path: Path) -> None:
    long = "word " * 100_000
    assert texts(read(write(tmp_path, "a.csv", f"text\n{long}\n"))) == [long]


@pytest.mark.parametrize(
    ("source", "label", "json"),
    [
        (Source("a.txt"), "a.txt", {"file": "a.txt"}),
        (Source("a.jsonl", line=3), "a.jsonl:3", {"file": "a.jsonl", "line": 3}),
        (Source("a.csv", row=2), "a.csv row 2", {"file": "a.csv", "row": 2}),
        (Source("-", line=1), "stdin:1", {"file": "-", "line": 1}),
    ],
)
def test_a_source_says_where_it_is(source: Source, label: str, json: dict[str, object]) -> None:
    assert (source.label, source.to_json()) == (label, json)


BROKEN: list[tuple[str, str | bytes, str]] = [
    ("a.jsonl", '"one"\n\n{"text": "two"\n', r"a\.jsonl:3: not JSON: Expecting ',' delimiter \(column 15\)"),
    ("a.jsonl", '{"id": 1, "body": "x"}\n', r"a\.jsonl:1: the row has no field 'text'; it has id, body$"),
    ("a.jsonl", "{}\n", r"a\.jsonl:1: the row has no field 'text'; it has none$"),
    ("a.jsonl", "[1]\n", r"a\.jsonl:1: the row is an array; a string or an object is needed"),
    ("a.jsonl", "null\n", r"a\.jsonl:1: the row is null; a string or an object is needed"),
    ("a.jsonl", '{"text": 5}\n', r"a\.jsonl:1: the field 'text' is a number; a string is needed"),
    ("a.jsonl", '{"text": null}\n', r"a\.jsonl:1: the field 'text' is null; a string is needed"),
    ("a.jsonl", '"ok"\n"\\ud83d"\n', r"a\.jsonl:2: the text holds half a character, \\ud83d"),
    ("a.jsonl", "[" * 100_000 + "\n", r"a\.jsonl:1: not JSON that can be read: nested too deeply"),
    ("a.jsonl", '"one"\n"tw\xff"\n'.encode("latin-1"), r"a\.jsonl:2: not UTF-8: byte 0xff at offset 9$"),
    ("a.jsonl", b'\xef\xbb\xbf"\xe9"\n', r"a\.jsonl:1: not UTF-8: byte 0xe9 at offset 4$"),
    ("a.txt", b"line one\nline two\nZ\xfcrich\n", r"a\.txt:3: not UTF-8: byte 0xfc at offset 19$"),
    ("a.txt", b"\xef\xbb\xbfZ\xfc", r"a\.txt:1: not UTF-8: byte 0xfc at offset 4$"),
    ("a.txt", "text".encode("utf-16"), r"a\.txt:1: not UTF-8: byte 0xff at offset 0; it looks like UTF-16$"),
    ("a.csv", "id,body\n1,x\n", r"a\.csv:1: the header names 'text' 0 times; it has id, body$"),
    ("a.csv", "text,text\n1,x\n", r"a\.csv:1: the header names 'text' 2 times; it has text, text$"),
    ("a.csv", "id,text\n1,x\n2\n", r"a\.csv:3: the row has 1 of 2 fields, none for 'text'$"),
    ("a.csv", 'text\n"open\n', r"a\.csv:2: not CSV: unexpected end of data$"),
    ("a.csv", b"text\nfine\n\xe9\n", r"a\.csv:3: not UTF-8: byte 0xe9 at offset 10$"),
    ("a.txt", "", r"nothing to read in .*a\.txt$"),
    ("a.jsonl", "\n\n", r"nothing to read in .*a\.jsonl$"),
    ("a.csv", "text\n", r"nothing to read in .*a\.csv$"),
    ("a.csv", "", r"nothing to read in .*a\.csv$"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN)
def test_broken_input_is_one_sentence_that_says_where(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(write(tmp_path, name, content))
    assert caught.value.message.startswith("documents: ")
    assert re.search(message, caught.value.message), caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.param == "documents"


def test_a_row_with_many_fields_names_the_first_ten(tmp_path: Path) -> None:
    row = "{" + ", ".join(f'"f{i}": {i}' for i in range(50)) + "}"
    with pytest.raises(BadFile, match=r"it has f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, \.\.\.$"):
        read(write(tmp_path, "a.jsonl", row))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"nowhere\.txt: no such file$"):
        read(str(tmp_path / "nowhere.txt"))
    with pytest.raises(BadFile, match=r"is a folder; name the files in it$"):
        read(str(tmp_path))
    with pytest.raises(BadFile, match=r"Not a directory$"):
        read(write(tmp_path, "file", "x") + "/below")
    with pytest.raises(BadFile, match="null"):
        read("a\0b")


def test_a_link_that_leads_nowhere_else_is_named_with_the_systems_reason(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(BadFile, match=r"loop: Too many levels of symbolic links$"):
        read(str(loop))
