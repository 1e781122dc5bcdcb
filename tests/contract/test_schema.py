"""Requests made from our own OpenAPI document, valid ones and broken ones: none may end in a 5xx, and what
comes back is as described."""

import json
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings

APP = create_app(Settings(models=("fake",), max_documents=20, max_body_bytes=100_000), FakeBackend())
SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(APP.openapi())))
SCHEMA.app = APP
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

pytestmark = pytest.mark.slow


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_nothing_that_the_document_allows_or_forbids_is_a_server_error(case: schemathesis.Case[Any]) -> None:
    response = case.call()
    case.validate_response(response, checks=[*CHECKS])
