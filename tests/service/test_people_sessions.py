"""Sessions: begun, listed, ended, and over; another password and another address by who has one; what operators see."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts import NOW, make_account
from gigarank.errors import NotSignedIn
from gigarank.service.accounts import repository, sessions
from gigarank.service.accounts import service as accounts_service
from gigarank.service.accounts.links import digest_of
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.metering.sweeper import tend
from gigarank.service.tables import accounts, people
from gigarank.service.tables import links as link_table
from gigarank.service.tables import sessions as table
from people import KEPT, PASSWORD, Browser, Town


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Iterator[Town]:
    yield Town(database, database_url, tmp_path)


def test_a_session_is_kept_as_its_digest_and_replaced_at_the_next_sign_in(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        first = await browser.sign_in()
        token = browser.cookie.partition("=")[2]
        (row,) = town.rows(table)
        assert row["digest"] == digest_of(token) and token not in str(dict(row))
        assert (row["agent"], row["address"], row["expires"]) == ("Firefox", browser.client, NOW + sessions.LIFE_S)
        old = browser.cookie
        second = await browser.sign_in()
        assert browser.cookie != old and second["csrf_token"] != first["csrf_token"]
        assert town.count(table) == 1
        assert (await browser.get("/v1/me", cookie=old)).status == 401
        assert (await browser.get("/v1/me")).status == 200

    town.do(work)


def test_a_session_is_over_when_its_time_is(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        town.now = NOW + sessions.LIFE_S - 1
        assert (await browser.well("show_session"))["csrf_token"] == browser.csrf
        assert town.rows(table)[0]["last_seen"] == town.now
        town.now += 1
        refused = await browser.get("/v1/auth/session")
        assert (refused.status, refused.error["code"]) == (401, "not_signed_in")

    town.do(work)
    asyncio.run(tend(town.database, "server_1", town.now - 1))
    assert town.count(table) == 1
    asyncio.run(tend(town.database, "server_1", town.now))
    assert town.count(table) == 0


def test_sessions_are_listed_and_ended_one_by_one(town: Town) -> None:
    town.person()
    town.person("bob@example.org")

    async def work(browser: Browser) -> None:
        other, bob = town.browser(browser.app), town.browser(browser.app)
        await browser.sign_in()
        await bob.sign_in("bob@example.org")
        town.now = NOW + 1
        await other.sign_in()
        listed = (await browser.well("list_sessions"))["data"]
        assert [(one["current"], one["address"]) for one in listed] == [(False, other.client), (True, browser.client)]
        theirs = listed[0]["session_id"]
        refused = await bob.delete(f"/v1/auth/sessions/{theirs}")
        assert (refused.status, refused.error["param"]) == (404, "session_id")
        assert (await browser.well("end_session", session_id=theirs))["deleted"] is True
        assert [(await one.get("/v1/me")).status for one in (browser, other, bob)] == [200, 401, 200]

    town.do(work)


def test_signing_out_here_and_everywhere(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        others = [town.browser(browser.app) for _ in range(3)]
        for one in (browser, *others):
            await one.sign_in()
        kept = browser.cookie
        assert (await browser.well("sign_out"))["ended"] == 1
        assert browser.cookie == "" and (await browser.get("/v1/me", cookie=kept)).status == 401
        assert (await others[0].well("sign_out_everywhere"))["ended"] == 3
        assert [(await one.get("/v1/me")).status for one in others] == [401] * 3

    town.do(work)


def test_who_changes_the_password_stays_and_the_others_go(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        await browser.sign_in()
        await other.sign_in()
        wrong: list[tuple[Any, str]] = [
            ({"new_password": "another long one"}, "password"),
            ({"new_password": "another long one", "password": "a wrong one"}, "password"),
            ({"new_password": "short", "password": PASSWORD}, "new_password"),
            ({"new_password": "Ada@Example.org", "password": PASSWORD}, "new_password"),
        ]
        for body, param in wrong:
            reply = await browser.post("/v1/me/password", body)
            assert (reply.status, reply.error["param"]) == (400, param)
        await browser.well("change_password", {"new_password": "another long one", "password": PASSWORD})
        assert [(await one.get("/v1/me")).status for one in (browser, other)] == [200, 401]
        await other.sign_in(password="another long one")

    town.do(work)
    assert town.letters("ada@example.org") == ["Your password was changed"]


def test_an_account_without_a_password_asks_for_a_sign_in_of_a_moment_ago(town: Town) -> None:
    account_id = town.person(kept=None)
    begun = town.database.transaction(lambda one: sessions.start(one, account_id, sessions.Device("a", "b"), NOW))

    async def work(browser: Browser) -> None:
        browser.cookie = f"gigarank={begun}"
        assert (await browser.well("show_me"))["has_password"] is False
        await browser.well("show_session")
        town.now = NOW + 601
        late = await browser.post("/v1/me/password", {"new_password": PASSWORD})
        assert (late.status, late.error["limit"], late.error["received"]) == (400, 600, 601)
        town.now = NOW + 600
        await browser.well("change_password", {"new_password": PASSWORD})
        await town.browser(browser.app).sign_in()

    town.do(work)


def test_another_address_counts_once_what_was_sent_there_is_read(town: Town) -> None:
    account_id = town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        body = {"email": "Ada@Example.com", "password": PASSWORD}
        assert (await browser.post("/v1/me/email", {**body, "password": "a wrong one"})).status == 400
        assert (await browser.well("change_email", body))["email"] == "ada@example.com"
        assert (await browser.well("show_me"))["email"] == "ada@example.org"
        token = town.token("ada@example.com", "email")
        await town.browser(browser.app).well("confirm_email", {"token": token})
        assert (await browser.well("show_me"))["email"] == "ada@example.com"
        assert (await browser.post("/v1/auth/confirm-email", {"token": token})).status == 400
        await browser.sign_in("ada@example.com")

    town.do(work)
    assert town.letters("ada@example.org") == ["Your address was changed"]
    assert [row["id"] for row in town.rows(accounts)] == [account_id]


def test_an_address_that_another_account_has_is_not_taken(town: Town) -> None:
    town.person()
    town.person("bob@example.org")

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        body = {"email": "eve@example.org", "password": PASSWORD}
        free = await browser.well("change_email", body)
        taken = await browser.well("change_email", {**body, "email": "bob@example.org"})
        assert {**free, "email": ""} == {**taken, "email": ""}
        town.person("eve@example.org")
        token = town.token("eve@example.org", "email")
        late = await browser.post("/v1/auth/confirm-email", {"token": token})
        assert (late.status, late.error["message"]) == (400, "token: the address has an account by now")

    town.do(work)
    assert town.letters("bob@example.org") == ["This address has an account"]
    assert sorted(row["email"] for row in town.rows(accounts))[0] == "ada@example.org"


def test_a_reset_of_the_old_address_is_over_with_it(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        await browser.well("forgot", {"email": "ada@example.org"})
        await browser.well("change_email", {"email": "ada@example.com", "password": PASSWORD})
        await browser.well("confirm_email", {"token": town.token("ada@example.com", "email")})
        token = town.token("ada@example.org", "reset")
        assert (await browser.post("/v1/auth/reset", {"token": token, "password": "another long one"})).status == 400

    town.do(work)
    assert town.count(link_table) == 0


def test_operators_see_accounts_and_nobody_else_does(town: Town) -> None:
    town.person()
    secrets = open_secrets(town.settings)
    made = [make_account(town.database, secrets, email=f"user{number}@example.org") for number in range(3)]

    def promote(connection: Any) -> str:
        account = accounts_service.create(connection, "root@example.org", NOW, "operator")
        repository.set_password(connection, account.id, KEPT, NOW)
        return account.id

    root = town.database.transaction(promote)

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        for path in ("/v1/operator/accounts", f"/v1/operator/accounts/{made[0].account_id}"):
            refused = await browser.get(path)
            assert (refused.status, refused.error["limit"], refused.error["received"]) == (403, "operator", "user")
            assert (await town.browser(browser.app).get(path)).status == 401
        operator = town.browser(browser.app)
        assert (await operator.sign_in("root@example.org"))["role"] == "operator"
        first = (await operator.get("/v1/operator/accounts?limit=3")).json
        rest = (await operator.get(f"/v1/operator/accounts?limit=3&after={first['last_id']}")).json
        assert (first["has_more"], rest["has_more"]) == (True, False)
        listed = [one["account_id"] for one in first["data"] + rest["data"]]
        assert listed == sorted(row["id"] for row in town.rows(accounts)) and root in listed
        await operator.well("list_accounts")
        shown = await operator.well("show_any_account", account_id=made[0].account_id)
        assert (shown["email"], shown["balance_micros"]) == ("user0@example.org", 1_000_000)
        assert (await operator.get("/v1/operator/accounts?limit=x")).error["param"] == "limit"
        assert (await operator.get("/v1/operator/accounts/acc_0")).status == 400

    town.do(work)


def test_what_is_no_session_lets_nobody_in(database: Database) -> None:
    for token in ("", "x", "\udcff"):
        with pytest.raises(NotSignedIn):
            database.transaction(lambda one, token=token: sessions.find(one, token, NOW))  # type: ignore[misc]
    assert database.transaction(lambda one: one.execute(people.select()).first()) is None
