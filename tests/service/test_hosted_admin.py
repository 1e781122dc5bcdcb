"""`gigarank admin`, as an operator types it, on SQLite in a state directory; and what it says when something is wrong."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi import ask_in_turn, posting
from gigarank.cli import app, failures
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_database
from gigarank.service.mail.service import Post
from gigarank.service.settings import Settings

BODY = {"query": "red planet", "documents": ["the red planet is Mars"]}


@pytest.fixture
def admin(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Any]:
    """Runs a command with --json and gives its object; with `code`, its error line."""

    def type_in(*words: str, code: int = 0, plain: bool = False) -> Any:
        arguments = ["admin", *words, "--state-dir", str(tmp_path), *([] if plain else ["--json"])]
        assert failures.run(app, arguments) == code
        out, err = capfdbinary.readouterr()
        if code == 2:
            return err.decode()
        return out.decode() if plain else json.loads(out)

    return type_in


def served(tmp_path: Path, key: str) -> int:
    application = create_app(Settings(models=("fake",), state_dir=str(tmp_path), accounts=True), FakeBackend())
    (reply,) = ask_in_turn(application, posting(BODY, x_api_key=key))
    return reply.status


def test_an_account_is_made_with_credit_and_a_key_that_is_served(admin: Callable[..., Any], tmp_path: Path) -> None:
    made = admin("account", "create", "--email", "A@example.org", "--grant-usd", "1.00")
    assert made["account_id"].startswith("acc_") and made["api_key"].startswith("grk_")
    assert (made["email"], made["balance_micros"], made["available_usd"]) == ("a@example.org", 1_000_000, "1.000000")
    assert served(tmp_path, made["api_key"]) == 200
    shown = admin("account", "show", "a@example.org")
    assert shown["balance_micros"] == 999_999 and "api_key" not in shown
    assert admin("check") == {"object": "audit", "accounts": 1, "problems": [], "sound": True}


def test_an_account_that_was_deleted_gets_neither_credit_nor_a_key(admin: Callable[..., Any], tmp_path: Path) -> None:
    account_id = admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")["account_id"]
    database = open_database(Settings(state_dir=str(tmp_path), accounts=True))
    try:
        database.transaction(lambda one: delete_account(one, Post("https://rank.example.org", sends=False), account_id, 1))
    finally:
        database.close()
    for words in (("account", "grant", account_id, "--usd", "1"), ("key", "create", account_id)):
        assert f"account: {account_id} was deleted" in admin(*words, code=2)
    assert admin("account", "show", account_id)["balance_micros"] == 1_000_000
    assert admin("key", "list", account_id)["keys"] == []
    assert admin("check")["sound"]


def test_no_key_is_told_twice(admin: Callable[..., Any]) -> None:
    made = admin("account", "create", "--email", "a@example.org")
    listed = admin("key", "list", "a@example.org")
    assert listed["keys"][0]["key_id"] == made["key_id"]
    assert made["api_key"].startswith(listed["keys"][0]["begins_with"])
    assert made["api_key"] not in json.dumps(listed)


def test_credit_is_added_and_listed(admin: Callable[..., Any]) -> None:
    admin("account", "create", "--email", "a@example.org")
    admin("account", "create", "--email", "b@example.org", "--grant-usd", "2", "--role", "operator")
    granted = admin("account", "grant", "a@example.org", "--usd", "0.5", "--reason", "sorry", "--expires", "2100-01-31")
    assert granted["balance_usd"] == "0.500000" and granted["grant_id"].startswith("grant_")
    listed = admin("account", "list")["accounts"]
    assert [(one["email"], one["role"], one["balance_usd"]) for one in sorted(listed, key=lambda one: str(one["email"]))] == [
        ("a@example.org", "user", "0.500000"),
        ("b@example.org", "operator", "2.000000"),
    ]
    assert "a@example.org\tactive\t0.500000" in admin("account", "list", plain=True)


def test_a_link_for_whoever_gets_no_mail(admin: Callable[..., Any]) -> None:
    admin("account", "create", "--email", "root@example.org", "--role", "operator")
    made = admin("account", "link", "Root@example.org")
    assert (made["purpose"], made["email"]) == ("reset", "root@example.org")
    assert made["url"].startswith("http://127.0.0.1:8000/account/reset#")


def test_codes_are_made_shown_once_and_listed(admin: Callable[..., Any]) -> None:
    made = admin("code", "create", "--usd", "2.5", "--count", "3", "--expires", "2100-01-31")["codes"]
    assert len({one["code"] for one in made}) == 3 and all(len(one["code"]) == 23 for one in made)
    listed = admin("code", "list")["codes"]
    assert {one["id"] for one in listed} == {one["code_id"] for one in made}
    assert [(one["amount_usd"], one["account_id"]) for one in listed] == [("2.500000", None)] * 3
    assert not any(one["code"] in json.dumps(listed) for one in made)
    assert "usd: must be above 0" in admin("code", "create", "--usd", "0", code=2)


def test_suspending_and_resuming(admin: Callable[..., Any], tmp_path: Path) -> None:
    made = admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")
    assert admin("account", "suspend", made["account_id"])["state"] == "suspended"
    assert served(tmp_path, made["api_key"]) == 403
    assert admin("account", "resume", made["account_id"])["state"] == "active"
    assert served(tmp_path, made["api_key"]) == 200


def test_limits_are_set_and_taken_away(admin: Callable[..., Any]) -> None:
    admin("account", "create", "--email", "a@example.org")
    limits = admin("account", "limits", "a@example.org", "--requests-per-minute", "3", "--concurrent-requests", "1")["limits"]
    assert limits == {"requests_per_minute": 3, "tokens_per_minute": None, "concurrent_requests": 1}
    assert set(admin("account", "limits", "a@example.org")["limits"].values()) == {None}


def test_a_key_with_terms(admin: Callable[..., Any], tmp_path: Path) -> None:
    admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")
    made = admin(
        *("key", "create", "a@example.org", "--name", "ci", "--scope", "inference", "--model", "nano"),
        *("--expires", "2100-01-31T12:00", "--cap-usd", "0.10", "--cap-period", "week", "--tokens-per-minute", "9000"),
    )
    assert (made["name"], made["scopes"], made["models"], made["expires"]) == ("ci", ["inference"], ["nano"], 4_105_080_000)
    assert (made["spend_cap"]["limit_usd"], made["spend_cap"]["period"]) == ("0.100000", "week")
    assert made["limits"]["tokens_per_minute"] == 9_000
    assert served(tmp_path, made["api_key"]) == 200
    assert admin("key", "disable", made["key_id"])["disabled"] is True
    assert served(tmp_path, made["api_key"]) == 401
    assert admin("key", "enable", made["key_id"])["disabled"] is False
    assert admin("key", "list", "a@example.org", plain=True).count("\n") == 2


def test_a_new_secret_keeps_the_keys_that_are_out(admin: Callable[..., Any], tmp_path: Path) -> None:
    made = admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")
    before = (tmp_path / "key-secrets").read_text()
    assert admin("secret", "rotate")["secret_id"] not in before
    assert served(tmp_path, made["api_key"]) == 200


def test_prices_are_set_and_listed(admin: Callable[..., Any], tmp_path: Path) -> None:
    made = admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")
    price = admin("price", "set", "fake", "--usd", "2.00", "--per", "documents")
    assert (price["unit"], price["price_micros"], price["tier"]) == ("1000 documents", 2_000_000, "default")
    assert [one["model"] for one in admin("price", "list")["prices"]] == ["*", "*", "fake"]
    assert served(tmp_path, made["api_key"]) == 200
    assert admin("account", "show", "a@example.org")["balance_micros"] == 1_000_000 - 2_000


def test_a_ledger_that_does_not_add_up_is_exit_code_1(admin: Callable[..., Any], tmp_path: Path) -> None:
    admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")
    with sqlite3.connect(tmp_path / "gigarank.db") as connection:
        connection.execute("UPDATE accounts SET balance_micros = 5")
    connection.close()
    found = admin("check", code=1)
    assert not found["sound"] and "balance_micros is 5, the sum of the ledger 1000000" in found["problems"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("account", "create", "--email", "nobody"), "email: an address as name@host is expected"),
        (("account", "create", "--email", "b@x", "--grant-usd", "much"), "grant-usd: an amount in US dollars"),
        (("account", "create", "--email", "a@example.org"), "email: a@example.org has an account already"),
        (("account", "create", "--email", "b@x", "--role", "king"), "role: one of user, operator; received 'king'"),
        (("account", "link", "b@x.org"), "account: nobody with the address b@x.org has an account"),
        (("account", "show", "c@x"), "account: no account 'c@x'"),
        (("account", "grant", "a@example.org", "--usd", "0"), "amount: must be above 0"),
        (("account", "grant", "a@example.org", "--usd", "1", "--expires", "soon"), "--expires: a date as 2027-01-31"),
        (("account", "grant", "a@example.org", "--usd", "1", "--expires", "2001-01-31"), "expires: is over"),
        (("key", "create", "a@example.org", "--scope", "all"), "scopes: some of inference, account, batches; received all"),
        (("key", "create", "a@example.org", "--cap-period", "year"), "cap_period: one of total, day, week, month"),
        (("key", "disable", "key_0"), "key: no key 'key_0'"),
        (("price", "set", "m", "--usd", "1", "--per", "words"), "per: one of tokens, documents; received 'words'"),
        (("price", "set", "m", "--usd", "1", "--tier", "fast"), "tier: one of default, batch; received 'fast'"),
        (("price", "set", "m", "--usd", "1", "--valid-from", "2001-01-31"), "--valid-from: is over"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_said_in_a_line(admin: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    admin("account", "create", "--email", "a@example.org")
    line = admin(*words, code=2)
    assert said in line and line.count("\n") == 1


@pytest.mark.parametrize("url", ["mysql://localhost/x", "nonsense"])
def test_a_database_that_cannot_be_is_refused(admin: Callable[..., Any], url: str) -> None:
    assert "database_url: sqlite:///PATH or postgresql://" in admin("check", "--database-url", url, code=2)


def test_bodies_are_kept_shown_and_deleted(admin: Callable[..., Any], tmp_path: Path) -> None:
    made = admin("account", "create", "--email", "a@example.org", "--grant-usd", "1")
    said = admin("logs", "terms", "a@example.org", "--days", "3")
    assert (said["days"], said["keys"]) == (3, [])
    settings = Settings(models=("fake",), state_dir=str(tmp_path), accounts=True, max_body_days=30)
    (reply,) = ask_in_turn(create_app(settings, FakeBackend()), posting(BODY, x_api_key=made["api_key"]))
    (row,) = admin("logs", "list", "a@example.org")["logs"]
    assert row["key_id"] == made["key_id"] and "request" not in row
    shown = admin("logs", "show", row["id"])
    assert json.loads(shown["request"]) == BODY and json.loads(shown["response"]) == reply.json
    assert b"red planet" in (tmp_path / "gigarank.db").read_bytes()
    assert admin("logs", "terms", "a@example.org", "--days", "0", "--key", made["key_id"])["keys"][0]["days"] == 0
    assert admin("logs", "list", "a@example.org")["logs"] == []
    assert b"red planet" not in (tmp_path / "gigarank.db").read_bytes()
    assert admin("logs", "delete", "a@example.org")["deleted"] == 0
    assert "log_id: no log" in admin("logs", "show", row["id"], code=2)
