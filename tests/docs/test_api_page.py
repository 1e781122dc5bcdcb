"""docs/api.md and docs/clients.md say what the server does: paths, fields, errors and presets are compared with the code."""

import re
from pathlib import Path

import pytest

from gigarank import errors
from gigarank.service.app import ROUTES
from gigarank.service.errors import render
from gigarank.service.rerank import fields
from gigarank.service.rerank.presets import PRESETS

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
CLIENTS = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
QUOTED = set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", API, flags=re.M | re.S)))
LANGUAGES = {".py": "python", ".sh": "bash", ".mjs": "javascript"}
PROGRAMS = sorted(path for path in (ROOT / "examples" / "clients").iterdir() if path.suffix in LANGUAGES)
FIELDS = [value for value in vars(fields).values() if isinstance(value, fields.Field)]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = API.split(f"\n## {heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.M)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[0].splitlines()[2:]]


def shown_paths() -> set[str]:
    return {word.removeprefix("POST ").removeprefix("GET ").replace(":path", "") for word in QUOTED if "/" in word}


def test_every_listed_route_is_on_the_page() -> None:
    listed = {re.sub(r":path", "", route.path) for route in ROUTES if route.listed}
    assert len(listed) >= 24
    assert listed <= shown_paths()


def test_every_path_on_the_page_is_a_route() -> None:
    known = {re.sub(r":path", "", route.path) for route in ROUTES}
    prefixes = {"/api/v1", "/openai/v1", "/inference/v1", "/compatible-mode/v1"}
    probes = {"/health", "/ready", "/metrics", "/openapi.json"}
    shown = {path for path in shown_paths() if path.startswith("/")}
    assert shown - known - prefixes - probes == set()


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.names[0])
def test_a_field_stands_with_all_its_names(field: fields.Field[object]) -> None:
    (row,) = [row for row in rows("Fields of a rerank request") if f"`{field.names[0]}`" in row[0]]
    assert {name for cell in row[:2] for name in re.findall(r"`([^`]+)`", cell)} == set(field.names)


def test_the_page_has_no_other_fields() -> None:
    own = {row[0].strip("`") for row in rows("Fields of a rerank request")}
    assert own == {field.names[0] for field in FIELDS} | {"query", "documents"}


def test_every_preset_is_named() -> None:
    assert set(PRESETS) <= QUOTED


def every(kind: type[errors.GigarankError]) -> list[type[errors.GigarankError]]:
    return [kind, *(deeper for below in kind.__subclasses__() for deeper in every(below))]


@pytest.mark.parametrize("kind", every(errors.GigarankError), ids=lambda kind: kind.__name__)
def test_an_error_s_status_and_code_are_a_row(kind: type[errors.GigarankError]) -> None:
    later = issubclass(kind, errors.TryLater)
    error = kind("no", retry_after=1.0) if later else kind("no")  # type: ignore[call-arg]
    status, headers, body = render(error, "superset", "id")
    table = {(row[0], code) for row in rows("Errors") for code in re.findall(r"`([^`]+)`", row[1])}
    assert (str(status), body["error"]["code"] or "null") in table
    assert ("retry-after" in headers) == later


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_the_clients_page_shows_each_program_as_it_is(program: Path) -> None:
    assert f"```{LANGUAGES[program.suffix]}\n{program.read_text(encoding='utf-8')}```\n" in CLIENTS


def test_the_clients_page_shows_no_other_python() -> None:
    assert CLIENTS.count("```python\n") == sum(program.suffix == ".py" for program in PROGRAMS)
