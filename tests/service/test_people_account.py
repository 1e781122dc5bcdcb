"""What people do for themselves: keys, usage, an export of all there is, and the end of the account."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from accounts import NOW
from asgi import Reply, getting, posting, visit
from batching import Client, lines
from gigarank.errors import AccessDenied, DatabaseUnavailable, InvalidInput, NotSignedIn
from gigarank.service.accounts import deletion, export, signing
from gigarank.service.accounts import service as accounts_service
from gigarank.service.accounts import sessions as session_service
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.accounts.passwords import Passwords
from gigarank.service.accounts.sessions import Device
from gigarank.service.batches import files as file_service
from gigarank.service.batches.storage import FolderStore
from gigarank.service.credits.schemas import Grant, Use
from gigarank.service.credits.service import audit, grant, settle
from gigarank.service.credits.topups import make_codes
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.keys import repository as key_repository
from gigarank.service.keys import service as key_service
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue
from gigarank.service.mail.service import Post
from gigarank.service.metering import repeats as repeats_service
from gigarank.service.metering import sweeper
from gigarank.service.tables import accounts, batches, files, keys, ledger, links, outbox, people, repeats, sessions, usage
from people import HOST, PASSWORD, Browser, Town

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Iterator[Town]:
    made = Town(database, database_url, tmp_path)
    account_id = made.person()
    database.transaction(lambda one: grant(one, account_id, Grant(1_000_000), NOW))
    yield made
    assert database.transaction(audit).problems == ()


async def asked(browser: Browser, key: str, **headers: str) -> Reply:
    return await visit(browser.app, posting(BODY, x_api_key=key, **headers))


def test_a_key_is_made_shown_once_changed_and_deleted(town: Town) -> None:
    async def work(browser: Browser) -> None:
        await browser.sign_in()
        made = await browser.well(
            "create_key", {"name": " ci ", "scopes": ["inference"], "cap_usd": "0.5", "cap_period": "day"}
        )
        key, key_id = made["api_key"], made["key_id"]
        assert (made["name"], made["scopes"], made["spend_cap"]["limit_micros"]) == ("ci", ["inference"], 500_000)
        assert (await asked(browser, key)).status == 200
        (listed,) = (await browser.well("list_keys"))["data"]
        assert listed["key_id"] == key_id and listed["spent_micros"] > 0 and key not in json.dumps(listed)
        await browser.well("change_key", {"disabled": True}, key_id=key_id)
        assert (await asked(browser, key)).status == 401
        changed = await browser.well("change_key", {"disabled": False, "name": "CI", "models": ["other"]}, key_id=key_id)
        assert (changed["name"], changed["models"], changed["spend_cap"]["period"]) == ("CI", ["other"], "day")
        assert (await asked(browser, key)).status == 403
        changed = await browser.well("change_key", {"models": None, "cap_usd": None, "expires": NOW + 5}, key_id=key_id)
        assert (changed["models"], changed["spend_cap"], changed["expires"]) == (None, None, NOW + 5)
        assert (await asked(browser, key)).status == 200
        town.now = NOW + 5
        assert (await asked(browser, key)).status == 401
        changed = await browser.well("change_key", {"expires": None}, key_id=key_id)
        assert changed["expires"] is None and (await asked(browser, key)).status == 200
        assert (await browser.well("delete_key", key_id=key_id))["deleted"] is True
        assert (await asked(browser, key)).error["message"] == "the API key is not known here"
        assert (await browser.well("list_keys"))["data"] == []
        for reply in (await browser.delete(f"/v1/me/keys/{key_id}"), await browser.post(f"/v1/me/keys/{key_id}", {})):
            assert (reply.status, reply.error["param"]) == (404, "key_id")
        used = await browser.well("own_usage")
        assert used["total"]["requests"] == 3 and {row["key_id"] for row in used["data"]} == {key_id}

    town.do(work)


def test_nobody_changes_another_s_key(town: Town) -> None:
    town.person("bob@example.org")

    async def work(browser: Browser) -> None:
        bob = town.browser(browser.app)
        await browser.sign_in()
        await bob.sign_in("bob@example.org")
        made = await browser.well("create_key", {})
        assert (made["name"], made["scopes"]) == ("default", ["inference", "account", "batches"])
        path = f"/v1/me/keys/{made['key_id']}"
        assert [(await bob.post(path, {"disabled": True})).status, (await bob.delete(path)).status] == [404, 404]
        assert (await bob.well("list_keys"))["data"] == [] and (await asked(browser, made["api_key"])).status == 200

    town.do(work)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": ["all"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"models": [7]}, "models[0]"),
        ({"expires": NOW}, "expires"),
        ({"expires": "soon"}, "expires"),
        ({"cap_usd": "much"}, "cap_usd"),
        ({"cap_period": "year"}, "cap_period"),
        ([], "body"),
    ],
)
def test_terms_that_are_none_are_named(town: Town, body: Any, param: str) -> None:
    async def work(browser: Browser) -> None:
        await browser.sign_in()
        reply = await browser.post("/v1/me/keys", body)
        assert (reply.status, reply.error["param"]) == (400, param)
        made = await browser.well("create_key", {})
        assert (await browser.post(f"/v1/me/keys/{made['key_id']}", body)).error["param"] == param

    town.do(work)
    assert town.count(keys) == 1


def test_an_account_has_a_hundred_keys(town: Town) -> None:
    secrets = open_secrets(town.settings)
    account_id = town.rows(accounts)[0]["id"]

    def fill(connection: Any) -> None:
        for _ in range(99):
            issue(connection, secrets, account_id, Terms(), NOW)

    town.database.transaction(fill)

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        replies = await asyncio.gather(*(browser.post("/v1/me/keys", {}) for _ in range(4)))
        assert sorted(reply.status for reply in replies) == [200, 400, 400, 400]
        refused = next(reply for reply in replies if reply.status == 400)
        assert (refused.error["param"], refused.error["limit"]) == ("keys", 100)

    town.do(work)
    assert town.count(keys) == 100


def test_keys_that_come_and_go_are_counted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_service, "MOST_EVER", 3)

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        for _ in range(3):
            made = await browser.well("create_key", {})
            await browser.well("delete_key", key_id=made["key_id"])
        refused = await browser.post("/v1/me/keys", {})
        assert (refused.status, refused.error["limit"], refused.error["received"]) == (400, 3, 4)

    town.do(work)


@pytest.mark.parametrize("meanwhile", ["disabled", "deleted"])
def test_a_change_of_a_key_undoes_nothing_that_comes_meanwhile(town: Town, meanwhile: str) -> None:
    account_id = town.rows(accounts)[0]["id"]
    key, _ = town.database.transaction(lambda one: issue(one, open_secrets(town.settings), account_id, Terms(), NOW))
    ends: dict[str, Any] = {
        "disabled": lambda one: key_service.set_disabled(one, key.id, True),
        "deleted": lambda one: key_service.delete(one, account_id, key.id, NOW),
    }
    end = threading.Thread(target=lambda: town.database.transaction(ends[meanwhile]))

    def change(one: Any) -> None:
        found = key_service.find_own(one, account_id, key.id)
        end.start()
        end.join(0.3)  # it waits for this transaction, or it would be done by then
        key_service.change(one, found, Terms("other"), False, NOW)

    town.database.transaction(change)
    end.join()
    (row,) = town.rows(keys)
    assert (row["disabled"], row["name"], row["deleted"] is None) == (1, "other", meanwhile == "disabled")


def test_who_changes_or_enables_a_deleted_key_changes_nothing(town: Town) -> None:
    account_id = town.rows(accounts)[0]["id"]
    key, _ = town.database.transaction(lambda one: issue(one, open_secrets(town.settings), account_id, Terms(), NOW))
    town.database.transaction(lambda one: key_service.delete(one, account_id, key.id, NOW))
    before = town.rows(keys)
    town.database.transaction(lambda one: key_repository.set_terms(one, key.id, Terms("other"), False))
    town.database.transaction(lambda one: key_repository.set_disabled(one, key.id, False))
    assert town.rows(keys) == before


def test_another_period_of_a_cap_counts_what_was_spent_in_it(town: Town) -> None:
    account_id = town.rows(accounts)[0]["id"]
    key, _ = town.database.transaction(lambda one: issue(one, open_secrets(town.settings), account_id, Terms(), NOW))
    for number, (micros, when) in enumerate(((70, NOW - 40 * 86_400), (20, NOW - 86_400), (5, NOW))):
        use = Use(f"h{number}", "r", account_id, key.id, "m", "/v1/rerank", "default", 1, 9, micros, "price_default", 5)
        town.database.transaction(lambda one, use=use, when=when: settle(one, use, when))  # type: ignore[misc]

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        for period, spent in (("day", 5), ("total", 95), ("week", 25), ("month", 25), ("total", 95)):
            changed = await browser.well("change_key", {"cap_period": period, "cap_usd": "1"}, key_id=key.id)
            assert (changed["spend_cap"]["period"], changed["spent_micros"]) == (period, spent)
        again = await browser.well("change_key", {"name": "the same period"}, key_id=key.id)
        assert again["spent_micros"] == 95

    town.do(work)


@pytest.mark.parametrize("state", ["suspended", "deleted"])
def test_an_account_that_has_ended_makes_no_key(town: Town, state: str) -> None:
    account_id, secrets = town.rows(accounts)[0]["id"], open_secrets(town.settings)
    town.database.transaction(lambda one: one.execute(accounts.update().values(state=state)))
    with pytest.raises(AccessDenied, match=f"the account (is|was) {state}"):
        town.database.transaction(lambda one: key_service.issue_own(one, secrets, account_id, Terms(), (100, NOW)))
    assert town.count(keys) == 0


def test_usage_is_also_a_table(town: Town) -> None:
    async def work(browser: Browser) -> None:
        await browser.sign_in()
        key = (await browser.well("create_key", {}))["api_key"]
        await asked(browser, key)
        assert len((await browser.well("own_requests"))["data"]) == 1
        table = await browser.get("/v1/me/usage?format=csv&group_by=model")
        assert table.headers["content-type"].startswith("text/csv") and table.body.startswith(b"model,requests")

    town.do(work)


def test_the_export_has_all_and_no_secret(town: Town) -> None:
    town.person("bob@example.org")

    async def work(browser: Browser) -> None:
        bob = town.browser(browser.app)
        await browser.sign_in()
        await bob.sign_in("bob@example.org")
        made = await browser.well("create_key", {"name": "ci"})
        for _ in range(3):
            await asked(browser, made["api_key"])
        told = await browser.well("export_account")
        assert told["account"]["email"] == "ada@example.org"
        sizes = {name: len(told[name]) for name in ("sessions", "keys", "grants", "ledger", "usage", "files", "batches")}
        assert sizes == {"sessions": 1, "keys": 1, "grants": 1, "ledger": 4, "usage": 3, "files": 0, "batches": 0}
        text = json.dumps(told)
        secrets = [row["digest"] for table in (sessions, keys) for row in town.rows(table)]
        assert not any(one in text for one in (*secrets, made["api_key"], "$argon2", "bob@example.org"))
        empty = await bob.well("export_account")
        assert empty["ledger"] == [] and empty["keys"] == []

    town.do(work)
    assert list((Path(town.settings.state_dir) / "files" / "incoming").iterdir()) == []


def test_the_export_has_texts_votes_codes_and_links_and_no_way_in(town: Town) -> None:
    town.settings = replace(town.settings, max_body_days=30)
    account_id = town.rows(accounts)[0]["id"]
    (code,) = town.database.transaction(lambda one: make_codes(one, 3_000_000, 1, None, NOW))

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        key = (await browser.well("create_key", {}))["api_key"]
        said = {"query": "zanzibar é", "documents": ["a", "b"]}
        await visit(browser.app, posting({"days": 7}, "/v1/logging", x_api_key=key))
        for number in range(3):
            headers = {"x_api_key": key, "idempotency_key": f"k-{number}"}
            assert (await visit(browser.app, posting(said, **headers))).status == 200
        await visit(browser.app, posting({"model": "a/b"}, "/v1/catalogue", x_api_key=key))
        await browser.well("redeem", {"code": code[1]})
        await browser.well("change_email", {"email": "ada@example.com", "password": PASSWORD})
        told = await browser.well("export_account")
        sizes = {
            name: len(told[name]) for name in ("body_terms", "bodies", "repeats", "codes", "links", "model_votes", "people")
        }
        assert sizes == {"body_terms": 1, "bodies": 3, "repeats": 3, "codes": 1, "links": 1, "model_votes": 1, "people": 1}
        assert [json.loads(row["request"]) for row in told["bodies"]] == [said] * 3
        assert all(json.loads(row["body"])["results"] for row in told["repeats"])
        assert (told["people"][0]["verified"], told["links"][0]["email"]) == (NOW, "ada@example.com")
        assert (told["model_votes"][0]["model_id"], told["codes"][0]["amount_micros"]) == ("a/b", 3_000_000)
        names = {name for value in told.values() if isinstance(value, list) for row in value for name in row}
        assert not names & {"digest", "password", "secret_id", "holder"}
        text = json.dumps(told)
        assert code[1] not in text and account_id in text and "$argon2" not in text
        for _ in range(2):
            assert (await browser.get("/v1/me/export")).status == 200
        refused = await browser.get("/v1/me/export")
        assert (refused.status, refused.error["limit"]) == (429, 3)

    town.do(work)


@pytest.mark.parametrize("how", ["head", "left before a byte", "left in between"])
def test_an_export_that_nobody_takes_leaves_no_file(town: Town, how: str) -> None:
    async def gone(message: Any) -> None:
        if message["type"] == "http.response.body" or how == "left before a byte":
            raise TimeoutError

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        asking = replace(getting("/v1/me/export"), headers={"host": HOST, "cookie": browser.cookie}, client="127.0.0.1")
        if how == "head":
            reply = await visit(browser.app, replace(asking, method="HEAD"))
            assert (reply.status, reply.body) == (200, b"") and int(reply.headers["content-length"]) > 100
        else:
            with contextlib.suppress(TimeoutError):
                await browser.app(asking.scope(), asking.receive, gone)

    town.do(work)
    assert list((Path(town.settings.state_dir) / "files" / "incoming").iterdir()) == []


def test_an_export_of_many_rows_is_written_page_by_page(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PAGE", 2)
    account_id, secrets = town.rows(accounts)[0]["id"], open_secrets(town.settings)

    def fill(connection: Any) -> None:
        for number in range(7):
            issue(connection, secrets, account_id, Terms(f"key {number}"), NOW)

    town.database.transaction(fill)

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        told = await browser.well("export_account")
        assert sorted(one["name"] for one in told["keys"]) == [f"key {number}" for number in range(7)]
        assert len({one["id"] for one in told["keys"]}) == 7

    town.do(work)


def test_an_export_that_cannot_be_written_leaves_no_file(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_arguments: Any) -> int:
        raise DatabaseUnavailable("away", retry_after=1.0)

    monkeypatch.setattr(export, "write", away)

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        assert (await browser.get("/v1/me/export")).status == 503

    town.do(work)
    assert list((Path(town.settings.state_dir) / "files" / "incoming").iterdir()) == []


@pytest.mark.parametrize(("requests", "texts"), [(7, 0), (2, 5), (6, 2)])
def test_a_large_account_is_deleted_piece_by_piece(
    town: Town, monkeypatch: pytest.MonkeyPatch, requests: int, texts: int
) -> None:
    monkeypatch.setattr(deletion, "_ROWS", 2)
    monkeypatch.setattr(deletion, "_TEXTS", 2)
    account_id, post = town.rows(accounts)[0]["id"], Post("https://rank.example.org", sends=True)
    other = town.person("bob@example.org")

    def fill(one: Any) -> None:
        for whose in (account_id, other):
            key, _ = issue(one, open_secrets(town.settings), whose, Terms(), NOW)
            grant(one, whose, Grant(1_000), NOW)
            for number in range(requests):
                name = f"{whose}-{number}"
                settle(one, Use(name, f"ada {number}", whose, key.id, "m", "/", "default", 1, 9, 7, "price_default", 5), NOW)
            for number in range(texts):
                repeats_service.claim(one, repeats_service.Repeat(whose, f"ada {number}", "d", "h"), NOW)

    town.database.transaction(fill)
    town.database.transaction(lambda one: delete_account(one, post, account_id, NOW))

    def left() -> tuple[int, int]:
        named = [row for row in town.rows(usage) if row["account_id"] == account_id and row["request_id"] != row["id"]]
        return len(named), len([row for row in town.rows(repeats) if row["account_id"] == account_id])

    assert left() == (max(0, requests - 2), max(0, texts - 2))
    steps = 0
    while town.database.transaction(deletion.erase_more):
        steps += 1
    assert left() == (0, 0) and steps == max(requests // 2 + requests % 2, texts // 2 + 1 if texts else 1)
    assert [row["leaving"] for row in town.rows(accounts)] == [None, None]
    assert len([row for row in town.rows(usage) if row["request_id"].startswith("ada")]) == requests
    assert town.count(repeats) == texts


def test_a_server_erases_what_a_deletion_left(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_S", 0.02)
    town.database.transaction(lambda one: one.execute(accounts.update().values(leaving="", state="deleted")))

    async def work(_browser: Browser) -> None:
        async with asyncio.timeout(30):
            while town.rows(accounts)[0]["leaving"] is not None:
                await asyncio.sleep(0.02)

    town.do(work)


def test_an_account_that_is_deleted_twice_at_once_is_deleted_once(town: Town) -> None:
    account_id, post = town.rows(accounts)[0]["id"], Post("https://rank.example.org", sends=True)
    deletions = [
        threading.Thread(target=lambda: town.database.call(lambda one: delete_account(one, post, account_id, NOW)))
        for _ in range(8)
    ]
    for each in deletions:
        each.start()
    for each in deletions:
        each.join()
    assert town.letters("ada@example.org") == ["Your account was deleted"]
    assert town.rows(accounts)[0]["state"] == "deleted"


def test_an_account_ends_with_all_that_says_whose_it_was(town: Town) -> None:
    account_id = town.rows(accounts)[0]["id"]
    balance = 0

    async def work(browser: Browser) -> None:
        nonlocal balance
        await browser.sign_in()
        key = (await browser.well("create_key", {"name": "ada's key"}))["api_key"]
        token = (await visit(browser.app, posting({}, "/v1/key/token", x_api_key=key))).json["token"]
        assert (await asked(browser, key, x_request_id="ada-1", idempotency_key="k")).status == 200
        client = Client(browser.app, key)
        await client.upload(lines(2), filename="ada.jsonl")
        await client.ended((await client.create(lines(2), metadata={"who": "ada"}))["id"])
        await browser.well("change_email", {"email": "ada@example.com", "password": PASSWORD})
        wrong = await browser.post("/v1/me/delete", {"password": "a wrong one"})
        assert (wrong.status, wrong.error["param"]) == (400, "password")
        balance = town.rows(accounts)[0]["balance_micros"]
        await browser.well("delete_me", {"password": PASSWORD})
        assert browser.cookie == ""
        assert [(await asked(browser, one)).status for one in (key, token)] == [401, 401]
        again = await browser.post("/v1/auth/sign-in", {"email": "ada@example.org", "password": PASSWORD})
        assert again.status == 401

    town.do(work)
    (account,) = town.rows(accounts)
    assert (account["state"], account["email"], account["balance_micros"]) == ("deleted", f"deleted {account_id}", balance)
    assert [town.count(table) for table in (people, sessions, links, repeats)] == [0, 0, 0, 0]
    assert town.letters("ada@example.org") == ["Your account was deleted"]
    town.forget_letters()
    kept = [str(dict(row)) for table in (accounts, keys, usage, ledger, batches, files) for row in town.rows(table)]
    said = ("ada@", "ada's", "ada-1", "ada.jsonl", "who")
    assert not [text for text in kept for one in said if one in text]
    assert town.count(ledger) > 1 and town.count(usage) == 3
    store = FolderStore(Path(town.settings.state_dir) / "files")
    file_service.tidy(town.database, store, NOW)
    assert town.database.transaction(lambda one: one.execute(select(files.c.id)).first()) is None


@pytest.mark.parametrize("meanwhile", ["password", "session", "suspended", "deleted"])
def test_who_was_let_in_before_a_change_changes_nothing_after_it(town: Town, meanwhile: str) -> None:
    """A thief's request that waits for its turn, while the owner sets another password."""
    account_id, post = town.rows(accounts)[0]["id"], Post("https://rank.example.org", sends=True)
    token = town.database.transaction(lambda one: session_service.start(one, account_id, Device("a", "b"), NOW))
    thief = town.database.transaction(lambda one: session_service.find(one, token, NOW))
    other = people.update().values(password="the owner's new one")
    changes: dict[str, Any] = {
        "password": lambda one: one.execute(other),
        "session": lambda one: session_service.end_all(one, account_id),
        "suspended": lambda one: accounts_service.set_state(one, account_id, "suspended"),
        "deleted": lambda one: delete_account(one, post, account_id, NOW),
    }
    town.database.transaction(changes[meanwhile])
    tables = (accounts, people, sessions, links, outbox)
    before = [town.rows(table) for table in tables]
    tries: list[Any] = [
        lambda one: signing.change_password(one, post, thief, "the thief's", NOW),
        lambda one: signing.ask_email(one, post, thief, "thief@example.org", NOW),
        *([] if meanwhile == "deleted" else [lambda one: delete_account(one, post, account_id, NOW, thief)]),
    ]
    for late in tries:
        with pytest.raises(NotSignedIn):
            town.database.transaction(late)
    assert [town.rows(table) for table in tables] == before


def test_a_password_that_waited_while_another_was_set_is_not_set(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = Passwords.hashed

    async def slow(self: Passwords, password: str) -> str:
        kept = await hashed(self, password)
        town.database.transaction(lambda one: one.execute(people.update().values(password="the owner's new one")))
        return kept

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        monkeypatch.setattr(Passwords, "hashed", slow)
        reply = await browser.post("/v1/me/password", {"password": PASSWORD, "new_password": "the thief's own"})
        assert (reply.status, reply.error["code"]) == (401, "not_signed_in")

    town.do(work)
    assert [row["password"] for row in town.rows(people)] == ["the owner's new one"]


def test_a_request_that_ends_after_its_account_leaves_no_name_that_its_client_chose(town: Town) -> None:
    account_id, post = town.rows(accounts)[0]["id"], Post("https://rank.example.org", sends=True)
    key, _ = town.database.transaction(lambda one: issue(one, open_secrets(town.settings), account_id, Terms(), NOW))
    for use_id, gone in (("hold_1", False), ("hold_2", True)):
        if gone:
            town.database.transaction(lambda one: delete_account(one, post, account_id, NOW))
        use = Use(use_id, f"ada-{use_id}", account_id, key.id, "m", "/v1/rerank", "default", 2, 9, 7, "price_default", 5)
        town.database.transaction(lambda one, use=use: settle(one, use, NOW))  # type: ignore[misc]
        if not gone:
            assert [row["request_id"] for row in town.rows(usage)] == ["ada-hold_1"]
    assert sorted(row["request_id"] for row in town.rows(usage)) == ["hold_1", "hold_2"]
    assert town.rows(accounts)[0]["balance_micros"] == 1_000_000 - 2 * 7


def test_a_deleted_account_does_not_come_back(town: Town) -> None:
    account_id = town.rows(accounts)[0]["id"]

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        await browser.well("delete_me", {"password": PASSWORD})
        await browser.well("sign_up", {"email": "ada@example.org", "password": PASSWORD})
        opened = await browser.well("verify", {"token": town.token("ada@example.org", "verify"), "password": PASSWORD})
        assert opened["account_id"] != account_id

    town.do(work)
    with pytest.raises(InvalidInput, match="was deleted"):
        town.database.transaction(lambda one: accounts_service.set_state(one, account_id, "active"))
    assert town.count(accounts) == 2


def test_who_is_deleted_or_suspended_begins_no_session(town: Town) -> None:
    account_id = town.rows(accounts)[0]["id"]
    for state in ("suspended", "deleted"):
        changed = accounts.update().where(accounts.c.id == account_id).values(state=state)
        town.database.transaction(lambda one, changed=changed: one.execute(changed))  # type: ignore[misc]
        with pytest.raises(AccessDenied):
            town.database.transaction(lambda one: session_service.start(one, account_id, Device("a", "b"), NOW))
    assert town.count(sessions) == 0
