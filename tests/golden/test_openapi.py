"""The API as a document: whoever changes a path, a field or an error changes the file beside this with it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings

Golden = Callable[[str, str], None]


def described() -> Any:
    return create_app(Settings(models=("fake",)), FakeBackend()).openapi()


def test_document(golden: Golden) -> None:
    golden("openapi.json", json.dumps(described(), indent=1, ensure_ascii=False) + "\n")


def test_the_document_is_the_same_for_every_app() -> None:
    """Settings and backends change what a server does, and not what its API is."""
    other = create_app(Settings(models=("a", "b"), api_keys=("k",), max_documents=3), FakeBackend()).openapi()
    assert json.dumps(other) == json.dumps(described())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere() -> None:
    document = described()
    for reference in set(references(document)):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place, reference


def test_every_operation_is_named_once_and_says_how_it_fails() -> None:
    operations = [operation for path in described()["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["summary"]
        assert set(operation["responses"]) & {"200", "302"}
        assert {"400", "401", "404", "413", "429", "431", "500", "503", "504"} <= set(operation["responses"])


def test_where_a_provider_leads_is_said() -> None:
    paths = described()["paths"]
    leave, back = (paths[f"/v1/auth/oidc/{{provider}}{end}"]["get"]["responses"] for end in ("", "/callback"))
    assert "200" not in leave and leave["302"]["headers"]["location"]["schema"] == {"type": "string"}
    assert "location" in back["303"]["headers"] and "headers" not in back["200"]


def test_every_parameter_of_a_path_is_described() -> None:
    for path, operations in described()["paths"].items():
        for operation in operations.values():
            named = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert named >= set(re.findall(r"\{(\w+)\}", path)), path


def test_what_the_clients_ask_for_is_in_it() -> None:
    listed = set(described()["paths"])
    wanted = {
        "/v1/rerank",
        "/v2/rerank",
        "/rerank",
        "/v1/score",
        "/v1/ranking",
        "/v1/models",
        "/v1/embeddings",
        "/v1/decisions",
    }
    assert wanted <= listed


def test_uploads_deletions_and_other_media_are_described() -> None:
    paths = described()["paths"]
    upload = paths["/v1/files"]["post"]["requestBody"]["content"]
    assert list(upload) == ["multipart/form-data"]
    assert upload["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"
    assert set(paths["/v1/files/{file_id}"]) == {"get", "delete"}
    content = paths["/v1/files/{file_id}/content"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "application/jsonl"}
    assert "requestBody" not in paths["/v1/batches/{batch_id}/cancel"]["post"]
    for path in ("/v1/usage", "/v1/usage/requests"):
        operation = paths[path]["get"]
        assert "text/csv" in operation["responses"]["200"]["content"]
        assert {"from", "to", "format"} <= {one["name"] for one in operation["parameters"] if one["in"] == "query"}
