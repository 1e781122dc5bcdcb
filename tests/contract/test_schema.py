"""Requests made from our own OpenAPI document, valid ones and broken ones: none may end in a 5xx, and what
comes back is as described."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from gigarank.service import hosted_routes, people_routes
from gigarank.service.accounts import repository, sessions
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.accounts.sessions import Device
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.ids import new_id
from gigarank.service.settings import Settings
from houses import House

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


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Hosted"]:
    """A server with accounts, and a key of one."""
    house = House([sys.executable, "-m", "gigarank"], tmp_path_factory.mktemp("hosted"))
    key = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"]
    server = house.serve("--backend", "fake")
    server.wait_until_ready()
    yield Hosted(house, server.url, key)
    server.end(signal.SIGTERM)
    assert house.admin("check")["sound"]


HUNDREDS = hypothesis.settings(
    max_examples=8, derandomize=True, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
PATHS = [route.path.replace(":path", "") for route in hosted_routes.ROUTES if route.listed]
OWN = schemathesis.openapi.from_dict(json.loads(json.dumps(APP.openapi()))).include(path=PATHS)


@OWN.parametrize()
@HUNDREDS
def test_nor_is_it_where_accounts_are_kept(case: schemathesis.Case[Any], hosted: "Hosted") -> None:
    response = case.call(base_url=hosted.url, headers={"x-api-key": hosted.key})
    case.validate_response(response, checks=[not_a_server_error, status_code_conformance, content_type_conformance])


@dataclass(frozen=True)
class Hosted:
    house: House
    url: str
    key: str

    def somebody(self) -> dict[str, str]:
        """The headers of a page at which a new person has signed in a moment ago."""
        database = Database(f"sqlite:///{self.house.folder / 'gigarank.db'}")
        now = int(time.time())

        def work(one: Any) -> str:
            account = repository.open_account(one, f"{new_id('p')}@example.org", None, now)
            assert account is not None
            return sessions.start(one, account.id, Device("agent", "127.0.0.1"), now)

        token = database.transaction(work)
        database.close()
        return {"cookie": f"gigarank={token}", "x-csrf-token": csrf_token(token)}


OF_PEOPLE = schemathesis.openapi.from_dict(json.loads(json.dumps(APP.openapi()))).include(
    path=[route.path for route in people_routes.ROUTES]
)


@OF_PEOPLE.parametrize()
@HUNDREDS
def test_nor_is_it_where_people_sign_in(case: schemathesis.Case[Any], hosted: Hosted) -> None:
    """Whatever a request ends, the next one's person is another."""
    response = case.call(base_url=hosted.url, headers=hosted.somebody(), allow_redirects=False)
    case.validate_response(response, checks=[not_a_server_error, status_code_conformance, content_type_conformance])
