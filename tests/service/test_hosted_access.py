"""Keys of accounts at the door of the application: beside the operator's static ones, and what each may see."""

from pathlib import Path
from typing import Any

import pytest

from accounts import make_account
from asgi import Reply, Visit, ask_in_turn, getting, posting
from gigarank.errors import DatabaseUnavailable
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.settings import Settings

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}


def hosted(tmp_path: Path, url: str, **settings: Any) -> Settings:
    return Settings(models=("fake",), state_dir=str(tmp_path), database_url=url, accounts=True, **settings)


def ask(settings: Settings, *requests: Visit) -> list[Reply]:
    return ask_in_turn(create_app(settings, FakeBackend()), *requests)


def test_without_a_key_nobody_is_served_even_on_loopback(tmp_path: Path, database: Database, database_url: str) -> None:
    (reply,) = ask(hosted(tmp_path, database_url), posting(BODY))
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert "no API key" in reply.error["message"]


def test_keys_of_accounts_and_the_operator_s_own_stand_side_by_side(
    tmp_path: Path, database: Database, database_url: str
) -> None:
    settings = hosted(tmp_path, database_url, api_keys=("sk-own",))
    made = make_account(database, open_secrets(settings))
    own, account, both, wrong = ask(
        settings,
        posting(BODY, x_api_key="sk-own"),
        posting(BODY, authorization=f"Bearer {made.key}"),
        posting(BODY, authorization="Bearer placeholder", x_api_key=made.key),
        posting(BODY, authorization=f"Bearer {made.key[:-1]}x"),
    )
    assert [own.status, account.status, both.status, wrong.status] == [200, 200, 200, 401]
    assert made.key[:-1].encode() not in wrong.body


def test_a_key_of_an_account_sees_nothing_of_the_operator_s(tmp_path: Path, database: Database, database_url: str) -> None:
    settings = hosted(tmp_path, database_url, api_keys=("sk-own",))
    made = make_account(database, open_secrets(settings))
    theirs, own, models = ask(
        settings,
        getting("/metrics", x_api_key=made.key),
        getting("/metrics", x_api_key="sk-own"),
        getting("/v1/models", x_api_key=made.key),
    )
    assert [theirs.status, own.status, models.status] == [403, 200, 200]
    assert theirs.error["type"] == "permission_error"


def test_a_key_without_the_scope_asks_no_model(tmp_path: Path, database: Database, database_url: str) -> None:
    settings = hosted(tmp_path, database_url)
    made = make_account(database, open_secrets(settings), scopes=("account",))
    (reply,) = ask(settings, posting(BODY, x_api_key=made.key))
    assert (reply.status, reply.error["limit"]) == (403, "inference")


def test_a_database_that_does_not_answer_is_503_or_no_start(tmp_path: Path) -> None:
    app = create_app(hosted(tmp_path, f"sqlite:///{tmp_path}/none/x.db"), FakeBackend())
    with pytest.raises(DatabaseUnavailable):
        ask_in_turn(app)
    assert isinstance(app.state.failure, DatabaseUnavailable)


def test_a_server_without_accounts_opens_no_database(tmp_path: Path) -> None:
    settings = Settings(models=("fake",), state_dir=str(tmp_path))
    (reply,) = ask(settings, posting(BODY))
    assert reply.status == 200
    assert {path.name for path in tmp_path.iterdir()} <= {"status.db"}  # the status page's counts
