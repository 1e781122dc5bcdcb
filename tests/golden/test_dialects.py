"""Each rerank dialect byte for byte: a request as its clients send it, and the answer that they read.

A case is a file files/dialects/DIALECT[.what].request.json; `--update` writes the answer beside it.
"""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from gigarank.service.errors import ERROR_SCHEMA
from gigarank.service.rerank.routes import DIALECTS, speaker
from rerank_calls import Scripted, ask, call_of, found

Golden = Callable[[str, str], None]
FOLDER = Path(__file__).parent / "files" / "dialects"
CASES = sorted(path.name.removesuffix(".request.json") for path in FOLDER.glob("*.request.json"))


@pytest.mark.parametrize("case", CASES)
def test_a_dialect(golden: Golden, case: str) -> None:
    asked = json.loads((FOLDER / f"{case}.request.json").read_text())
    status, body = ask(asked["body"], asked["path"], Scripted(), headers=asked.get("headers", {}))
    golden(f"dialects/{case}.response.json", json.dumps({"status": status, "body": body}, indent=1, ensure_ascii=False) + "\n")
    schema = _dialect_schema(asked) if status == 200 else ERROR_SCHEMA | {"required": []}
    jsonschema.validate(body, schema)


def _dialect_schema(asked: dict[str, object]) -> dict[str, object]:
    """The response schema of the dialect that the case's own name is of."""
    call = call_of(asked["body"], str(asked["path"]), headers=asked.get("headers", {}))
    route, _ = found(call.path)
    own = next(dialect for dialect in DIALECTS if route.path in [path.path for path in dialect.paths])
    return speaker(call, own).response


@pytest.mark.parametrize("dialect", [dialect.name for dialect in DIALECTS])
def test_every_dialect_has_a_case(dialect: str) -> None:
    assert dialect in [case.split(".")[0] for case in CASES]
