"""Signing up, in and out, and forgotten passwords: what each does, what it does not tell, and what several at once do."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts import NOW, make_account
from gigarank.errors import InvalidInput, NotSignedIn
from gigarank.service.accounts import links, repository, signing
from gigarank.service.accounts import service as accounts_service
from gigarank.service.accounts.passwords import Passwords
from gigarank.service.accounts.sessions import Device
from gigarank.service.accounts.signing import Entry
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.mail.service import Post
from gigarank.service.tables import accounts, outbox, people, sessions
from gigarank.service.tables import links as link_table
from mail_server import Inbox, serving
from people import KEPT, PASSWORD, Browser, Town, at_once

ADA = {"email": "ada@example.org", "password": PASSWORD}
ENTRY = Entry(Device("Firefox", "10.0.0.1"))
POST = Post("https://rank.example.org", sends=True)
FREE = 25_000_000  # micro-dollars: what a new account has


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Iterator[Town]:
    made = Town(database, database_url, tmp_path)
    yield made
    assert database.transaction(audit).problems == ()


def test_somebody_signs_up_confirms_and_is_signed_in(town: Town) -> None:
    async def work(browser: Browser) -> None:
        assert await browser.well("sign_up", ADA) == {"object": "letter", "email": "ada@example.org", "sent": True}
        assert town.count(accounts) == 0
        token = town.token("ada@example.org", "verify")
        opened = await browser.well("verify", {"token": token, "password": PASSWORD})
        assert (opened["email"], opened["role"]) == ("ada@example.org", "user")
        me = await browser.well("show_me")
        assert (me["account_id"], me["has_password"], me["balance_micros"]) == (opened["account_id"], True, FREE)
        again = await browser.post("/v1/auth/verify", {"token": token, "password": PASSWORD})
        assert (again.status, again.error["param"]) == (400, "token")

    town.do(work)
    (person,) = town.rows(people)
    assert person["verified"] == NOW and person["password"].startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert town.count(link_table) == 0


def test_a_letter_comes_over_smtp_and_its_link_opens_the_account(database: Database, database_url: str, tmp_path: Path) -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        town = Town(database, database_url, tmp_path, smtp_url=f"smtp://127.0.0.1:{port}")

        async def work(browser: Browser) -> None:
            await browser.well("sign_up", ADA)
            async with asyncio.timeout(30):
                while not inbox.to("ada@example.org"):
                    await asyncio.sleep(0.02)
            (body,) = inbox.to("ada@example.org")
            link = re.search(r"http://127\.0\.0\.1:8000/account/verify#(\S+)", body)
            assert link is not None
            await browser.well("verify", {"token": link[1], "password": PASSWORD})

        town.do(work)
    assert town.count(accounts) == 1


def test_only_who_chose_the_password_opens_the_account(town: Town) -> None:
    """Whoever signs up with another's address has no use of it, whatever its owner clicks."""

    async def work(browser: Browser) -> None:
        await browser.well("sign_up", {**ADA, "password": "the guess of another"})
        token = town.token("ada@example.org", "verify")
        refused = await browser.post("/v1/auth/verify", {"token": token, "password": PASSWORD})
        assert (refused.status, refused.error["code"]) == (401, "not_signed_in")
        town.forget_letters()
        await browser.well("sign_up", ADA)
        await browser.well("verify", {"token": town.token("ada@example.org", "verify"), "password": PASSWORD})
        late = await browser.post("/v1/auth/verify", {"token": token, "password": "the guess of another"})
        assert late.status == 400

    town.do(work)
    assert (town.count(accounts), town.count(link_table)) == (1, 0)


def test_no_answer_tells_whether_an_address_has_an_account(town: Town) -> None:
    town.person("ada@example.org")
    told: dict[str, list[Any]] = {}

    async def work(browser: Browser) -> None:
        for email in ("ada@example.org", "bob@example.org"):
            replies = [
                await browser.post("/v1/auth/sign-up", {"email": email, "password": "another long one"}),
                await browser.post("/v1/auth/forgot", {"email": email}),
                await browser.post("/v1/auth/sign-in", {"email": email, "password": "a wrong one"}),
            ]
            ids = [reply.headers["x-request-id"].encode() for reply in replies]
            bodies = [
                reply.body.replace(one, b"").replace(email.encode(), b"") for reply, one in zip(replies, ids, strict=True)
            ]
            told[email] = [*(reply.status for reply in replies), *bodies]

    town.do(work)
    assert told["ada@example.org"] == told["bob@example.org"] and told["ada@example.org"][:3] == [200, 200, 401]
    assert sorted(town.letters("ada@example.org")) == ["A new password", "You have an account"]
    assert sorted(town.letters("bob@example.org")) == ["Confirm your address", "No account with this address"]
    emails = [row["email"] for row in town.rows(link_table)]
    assert sorted(emails) == ["ada@example.org"] * 2 + ["bob@example.org"] * 2  # as many rows for one as for the other


def test_as_many_hashes_are_computed_for_nobody_as_for_somebody(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.person("ada@example.org")
    town.person("none@example.org", kept=None)
    done: list[str] = []
    own = Passwords._off_loop

    async def counted(self: Passwords, work: Callable[..., Any], *arguments: Any) -> Any:
        done.append(getattr(work, "__name__", "?"))
        return await own(self, work, *arguments)

    monkeypatch.setattr(Passwords, "_off_loop", counted)

    async def work(browser: Browser) -> None:
        for email in ("ada@example.org", "none@example.org", "bob@example.org"):
            reply = await browser.post("/v1/auth/sign-in", {"email": email, "password": "a wrong one"})
            assert reply.status == 401
            assert (await browser.post("/v1/auth/sign-up", {"email": email, "password": PASSWORD})).status == 200

    town.do(work)
    assert done == ["_fits", "hash"] * 3


def test_a_forgotten_password_is_replaced_and_every_session_ends(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        await browser.sign_in()
        await other.sign_in()
        await other.well("forgot", {"email": " ADA@example.org "})
        token = town.token("ada@example.org", "reset")
        short = await other.post("/v1/auth/reset", {"token": token, "password": "short"})
        assert (short.status, short.error["param"], short.error["limit"]) == (400, "password", 10)
        await other.well("reset", {"token": token, "password": "another long one"})
        assert [(await one.get("/v1/me")).status for one in (browser, other)] == [401, 401]
        assert (await other.post("/v1/auth/reset", {"token": token, "password": "a third long one"})).status == 400
        assert (await browser.post("/v1/auth/sign-in", ADA)).status == 401
        await browser.sign_in(password="another long one")

    town.do(work)
    assert "Your password was changed" in town.letters("ada@example.org")


def test_a_link_is_over_when_its_time_is(town: Town) -> None:
    town.person()
    wanted = {"reset": links.LIFE_S["reset"], "verify": links.LIFE_S["verify"]}

    async def work(browser: Browser) -> None:
        await browser.well("forgot", {"email": "ada@example.org"})
        await browser.well("sign_up", {"email": "bob@example.org", "password": PASSWORD})
        reset, verify = town.token("ada@example.org", "reset"), town.token("bob@example.org", "verify")
        town.now = NOW + wanted["reset"]
        late = await browser.post("/v1/auth/reset", {"token": reset, "password": PASSWORD})
        town.now = NOW + wanted["verify"]
        later = await browser.post("/v1/auth/verify", {"token": verify, "password": PASSWORD})
        assert [(reply.status, reply.error["param"]) for reply in (late, later)] == [(400, "token")] * 2
        assert (await browser.post("/v1/auth/verify", {"token": reset, "password": PASSWORD})).status == 400  # no sign-up's

    town.do(work)
    town.database.transaction(lambda one: links.forget(one, town.now))
    assert town.count(link_table) == 0


def test_an_account_that_an_operator_made_gets_its_password_by_a_letter(town: Town) -> None:
    made = make_account(town.database, open_secrets(town.settings), email="ada@example.org")

    async def work(browser: Browser) -> None:
        assert (await browser.post("/v1/auth/sign-in", ADA)).status == 401
        await browser.well("forgot", {"email": "ada@example.org"})
        await browser.well("reset", {"token": town.token("ada@example.org", "reset"), "password": PASSWORD})
        assert (await browser.sign_in())["account_id"] == made.account_id

    town.do(work)


def test_who_is_suspended_is_told_with_the_right_password_alone(town: Town) -> None:
    account_id = town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        town.database.transaction(lambda one: accounts_service.set_state(one, account_id, "suspended"))
        assert (await browser.get("/v1/me")).status == 403
        assert (await browser.post("/v1/auth/sign-in", ADA)).status == 403
        assert (await browser.post("/v1/auth/sign-in", {**ADA, "password": "a wrong one"})).status == 401

    town.do(work)


def test_without_a_mail_server_nothing_is_written_down(database: Database, database_url: str, tmp_path: Path) -> None:
    town = Town(database, database_url, tmp_path, smtp_url="")

    async def work(browser: Browser) -> None:
        assert (await browser.well("sign_up", ADA))["sent"] is False

    town.do(work)
    assert town.count(outbox) == 0
    link, url = database.transaction(lambda one: signing.operators_link(one, "https://x", "ada@example.org", NOW))
    assert link.purpose == "verify" and url.startswith("https://x/account/verify#")

    async def confirm(browser: Browser) -> None:
        await browser.well("verify", {"token": url.partition("#")[2], "password": PASSWORD})

    town.do(confirm)
    again, _ = database.transaction(lambda one: signing.operators_link(one, "https://x", "ada@example.org", NOW))
    assert again.purpose == "reset"
    with pytest.raises(InvalidInput, match="nobody with the address"):
        database.transaction(lambda one: signing.operators_link(one, "https://x", "bob@example.org", NOW))


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("sign-up", {"email": "ada", "password": PASSWORD}, "email"),
        ("sign-up", {"email": 7, "password": PASSWORD}, "email"),
        ("sign-up", {"email": "ada@example.org"}, "password"),
        ("sign-up", {"email": "ada@example.org", "password": "Password123"}, "password"),
        ("sign-up", [], "body"),
        ("sign-in", {"email": "ada@example.org", "password": 7}, "password"),
        ("sign-in", {"password": PASSWORD}, "email"),
        ("verify", {"password": PASSWORD}, "token"),
        ("verify", {"token": "x", "password": PASSWORD}, "token"),
        ("reset", {"token": "\ud800", "password": PASSWORD}, "token"),
        ("reset", {"token": 7, "password": PASSWORD}, "token"),
        ("confirm-email", {}, "token"),
        ("forgot", {}, "email"),
    ],
)
def test_what_is_wrong_is_named_and_no_password_repeated(town: Town, path: str, body: Any, param: str) -> None:
    async def work(browser: Browser) -> None:
        reply = await browser.post(f"/v1/auth/{path}", body)
        assert (reply.status, reply.error["param"]) == (400, param), reply.body
        assert b"assword123" not in reply.body

    town.do(work)


# Several at once.


def signed_up(database: Database, email: str = "ada@example.org") -> str:
    return database.transaction(lambda one: links.issue(one, links.Link("verify", email, password=KEPT), NOW))


@pytest.mark.parametrize("same", [True, False], ids=["one link", "a link each"])
def test_of_many_verifications_one_opens_the_account(town: Town, same: bool) -> None:
    tokens = [signed_up(town.database)] * 50 if same else [signed_up(town.database) for _ in range(50)]
    found = at_once(town.database, 50, lambda one, number: signing.verify(one, tokens[number], ENTRY, NOW))
    assert sum(not isinstance(each, InvalidInput) for each in found) == 1
    assert (town.count(accounts), town.count(people), town.count(sessions)) == (1, 1, 1)


def test_of_two_resets_with_one_link_one_counts(town: Town) -> None:
    account_id = town.person()
    token = town.database.transaction(lambda one: links.issue(one, links.Link("reset", "ada@example.org", account_id), NOW))
    found = at_once(town.database, 8, lambda one, number: signing.reset(one, POST, token, f"hash {number}", NOW))
    (winner,) = [number for number, each in enumerate(found) if not isinstance(each, InvalidInput)]
    assert town.rows(people)[0]["password"] == f"hash {winner}"


def issued(database: Database, purpose: links.Purpose, email: str, account_id: str) -> str:
    return database.transaction(lambda one: links.issue(one, links.Link(purpose, email, account_id), NOW))


def test_several_links_of_an_account_wait_for_each_other_and_one_counts(town: Town) -> None:
    account_id = town.person()
    tokens = [issued(town.database, "reset", "ada@example.org", account_id) for _ in range(16)]
    found = at_once(town.database, 16, lambda one, number: signing.reset(one, POST, tokens[number], f"hash {number}", NOW))
    assert sum(not isinstance(each, InvalidInput) for each in found) == 1
    assert town.count(link_table) == 0


def test_of_several_accounts_that_want_an_address_one_gets_it(town: Town) -> None:
    wanted = "eve@example.org"
    ids = [town.person(f"user{number}@example.org") for number in range(8)]
    tokens = [issued(town.database, "email", wanted, account_id) for account_id in ids]
    found = at_once(town.database, 8, lambda one, number: signing.confirm_email(one, POST, tokens[number], NOW))
    assert sum(not isinstance(each, InvalidInput) for each in found) == 1
    assert [row["email"] for row in town.rows(accounts)].count(wanted) == 1
    assert len(town.letters(wanted)) == 0 and town.count(link_table) == 7


def test_a_password_that_was_replaced_meanwhile_signs_nobody_in(town: Town) -> None:
    town.person()
    known = town.database.transaction(lambda one: repository.person_by_email(one, "ada@example.org"))
    assert known is not None
    town.database.transaction(lambda one: repository.set_password(one, known.account.id, "another", NOW))
    with pytest.raises(NotSignedIn):
        town.database.transaction(lambda one: signing.sign_in(one, "ada@example.org", known.password, ENTRY, NOW))
    assert town.count(sessions) == 0
