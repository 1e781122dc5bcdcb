"""Credit that nobody paid for: free credit, codes, and the letter when it runs out; once each, whoever else tries."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from accounts import NOW, make_account
from asgi import posting, visit
from gigarank.errors import InvalidInput
from gigarank.service.accounts import low_balance
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.credits import free
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import audit, grant
from gigarank.service.credits.topups import Codes, every_code, make_codes, top_up
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue, rotate
from gigarank.service.mail.service import Post
from gigarank.service.metering import sweeper
from gigarank.service.tables import accounts, grants, people
from gigarank.service.topup_tables import codes, free_credits
from people import PASSWORD, Browser, Town, at_once

POST = Post("https://rank.example.org", sends=True)
FREE = 25_000_000


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Iterator[Town]:
    made = Town(database, database_url, tmp_path)
    yield made
    assert database.transaction(audit).problems == ()


def balance(town: Town, account_id: str) -> int:
    return next(int(row["balance_micros"]) for row in town.rows(accounts) if row["id"] == account_id)


# Free credit.


def test_a_new_account_has_its_free_credit_and_spends_it_first(town: Town) -> None:
    async def work(browser: Browser) -> None:
        await browser.well("sign_up", {"email": "ada@example.org", "password": PASSWORD})
        await browser.well("verify", {"token": town.token("ada@example.org", "verify"), "password": PASSWORD})
        credit = await browser.well("own_credits")
        assert (credit["balance_micros"], credit["grants"][0]["reason"]) == (FREE, "free credit")
        assert credit["grants"][0]["priority"] < Grant(1).priority
        await browser.well("forgot", {"email": "ada@example.org"})
        await browser.well("reset", {"token": town.token("ada@example.org", "reset"), "password": "another long one"})

    town.do(work)
    assert (town.count(grants), town.count(free_credits)) == (1, 1)
    assert "ada@" not in str(town.rows(free_credits))


def test_an_operator_s_account_gets_it_when_its_address_is_verified(town: Town) -> None:
    made = make_account(town.database, open_secrets(town.settings), 5, "ada@example.org")

    async def work(browser: Browser) -> None:
        await browser.well("forgot", {"email": "ada@example.org"})
        await browser.well("reset", {"token": town.token("ada@example.org", "reset"), "password": PASSWORD})

    town.do(work)
    assert balance(town, made.account_id) == FREE + 5


@pytest.mark.parametrize(("setting", "micros"), [("0", 0), ("0.000001", 1), ("5", 5_000_000)])
def test_how_much_it_is(town: Town, database_url: str, tmp_path: Path, setting: str, micros: int) -> None:
    other = Town(town.database, database_url, tmp_path, free_credit_usd=setting)

    async def work(browser: Browser) -> None:
        await browser.well("sign_up", {"email": "ada@example.org", "password": PASSWORD})
        await browser.well("verify", {"token": town.token("ada@example.org", "verify"), "password": PASSWORD})
        assert (await browser.well("show_me"))["balance_micros"] == micros

    other.do(work)
    assert town.count(free_credits) == (1 if micros else 0)


@pytest.mark.parametrize("name", ["free_credit_usd", "low_balance_usd"])
def test_an_amount_that_is_none_is_refused_when_the_server_starts(
    town: Town, database_url: str, tmp_path: Path, name: str
) -> None:
    async def work(browser: Browser) -> None:
        raise AssertionError("it started")

    with pytest.raises(InvalidInput, match=f"^{name}: an amount in US dollars"):
        Town(town.database, database_url, tmp_path, **{name: "much"}).do(work)


def test_of_fifty_verifications_at_once_one_gives_credit(town: Town) -> None:
    account_id, secrets = town.person(), open_secrets(town.settings)
    given = at_once(town.database, 50, lambda one, _: free.give(one, secrets, account_id, FREE, NOW))
    assert given.count(True) == 1 and given.count(False) == 49
    assert (balance(town, account_id), town.count(grants)) == (FREE, 1)


def test_an_address_has_it_once_whatever_secret_and_account_it_has(town: Town) -> None:
    secrets = open_secrets(town.settings)
    first = town.person()
    assert town.database.transaction(lambda one: free.give(one, secrets, first, FREE, NOW))
    for day in range(3):
        town.database.transaction(lambda one, now=NOW + day * 86_400: rotate(one, secrets, now))  # type: ignore[misc]
    gone = accounts.update().where(accounts.c.id == first).values(email="gone")
    town.database.transaction(lambda one: one.execute(gone))
    again = town.person()
    assert not town.database.transaction(lambda one: free.give(one, secrets, again, FREE, NOW))
    assert not town.database.transaction(lambda one: free.give(one, secrets, first, FREE, NOW))  # another address
    other = town.person("bob@example.org")
    assert town.database.transaction(lambda one: free.give(one, secrets, other, FREE, NOW))
    assert not town.database.transaction(lambda one: free.give(one, secrets, "acc_0", FREE, NOW))


# Codes.


def made(town: Town, count: int = 1, expires: int | None = None) -> list[str]:
    found = town.database.transaction(lambda one: make_codes(one, 3_000_000, count, expires, NOW))
    return [code for _, code in found]


def test_a_code_is_redeemed_once_however_it_is_typed(town: Town) -> None:
    account_id = town.person()
    town.person("bob@example.org")
    first, second = made(town, 2)
    assert not {first, second} & {str(value) for row in town.rows(codes) for value in dict(row).values()}

    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        await browser.sign_in()
        await other.sign_in("bob@example.org")
        told = await browser.well("redeem", {"code": f" {first.lower().replace('-', ' ')}"})
        assert (told["amount_micros"], told["amount_usd"]) == (3_000_000, "3.000000")
        for one in (browser, other):
            refused = await one.post("/v1/me/redeem", {"code": first})
            assert (refused.status, refused.error["param"]) == (400, "code")
        assert (await other.well("redeem", {"code": second}))["grant_id"].startswith("grant_")
        for body in ({}, {"code": ""}, {"code": 7}, {"code": "\ud800"}, {"code": "AAAAA-AAAAA-AAAAA-AAAAA"}):
            assert (await browser.post("/v1/me/redeem", body)).error["param"] == "code"

    town.do(work)
    assert balance(town, account_id) == 3_000_000
    listed = town.database.transaction(every_code)
    assert sorted(bool(row["account_id"]) for row in listed) == [True, True] and "digest" not in dict(listed[0])


def deleted_account(town: Town) -> str:
    account_id = make_account(town.database, open_secrets(town.settings), 100, "gone@example.org").account_id
    town.database.transaction(lambda one: delete_account(one, POST, account_id, NOW))
    return account_id


def test_an_account_that_was_deleted_takes_no_code_which_another_then_redeems(town: Town) -> None:
    gone, other = deleted_account(town), make_account(town.database, open_secrets(town.settings), 0, "b@example.org").account_id
    ((_, code),) = town.database.transaction(lambda one: make_codes(one, 5, 1, None, NOW))
    before = town.count(grants)
    with pytest.raises(InvalidInput, match=f"account: {gone} was deleted") as refused:
        town.database.transaction(lambda one: top_up(one, Codes(), gone, code, NOW))
    assert (refused.value.param, refused.value.received) == ("account", "deleted")
    assert (balance(town, gone), town.count(grants), town.rows(codes)[0]["account_id"]) == (100, before, None)
    town.database.transaction(lambda one: top_up(one, Codes(), other, code, NOW))
    assert balance(town, other) == 5


def test_an_account_that_was_deleted_gets_no_free_credit(town: Town) -> None:
    gone = deleted_account(town)
    assert not town.database.transaction(lambda one: free.give(one, open_secrets(town.settings), gone, FREE, NOW))
    assert (balance(town, gone), town.count(free_credits)) == (100, 0)


def test_a_code_that_is_over_is_none(town: Town) -> None:
    account_id = town.person()
    (code,) = made(town, expires=NOW + 10)
    with pytest.raises(InvalidInput, match="code: is none, was used, or is over"):
        town.database.transaction(lambda one: top_up(one, Codes(), account_id, code, NOW + 10))
    town.database.transaction(lambda one: top_up(one, Codes(), account_id, code, NOW + 9))
    assert balance(town, account_id) == 3_000_000


@pytest.mark.parametrize("same", [True, False], ids=["one account", "an account each"])
def test_of_several_redemptions_at_once_one_counts(town: Town, same: bool) -> None:
    ids = [town.person(f"user{number}@example.org") for number in range(1 if same else 12)] * (12 if same else 1)
    (code,) = made(town)
    found = at_once(town.database, 12, lambda one, number: top_up(one, Codes(), ids[number], code, NOW))
    assert sum(not isinstance(each, InvalidInput) for each in found) == 1
    assert sum(row["balance_micros"] for row in town.rows(accounts)) == 3_000_000


@pytest.mark.parametrize(("micros", "expires", "said"), [(0, None, "usd: must be above 0"), (1, NOW, "expires: is over")])
def test_codes_that_are_of_no_use_are_not_made(town: Town, micros: int, expires: int | None, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        town.database.transaction(lambda one: make_codes(one, micros, 1, expires, NOW))


# When it runs out.


def look(town: Town) -> int:
    return town.database.transaction(lambda one: low_balance.tell(one, POST, 1_000_000, NOW))


def give(town: Town, account_id: str, micros: int) -> None:
    town.database.transaction(lambda one: grant(one, account_id, Grant(micros, expires=NOW + 10**9), NOW))


def set_balance(town: Town, account_id: str, micros: int) -> None:
    """As requests would, for a test that does not settle any: put back before the sums are looked at."""
    changed = accounts.update().where(accounts.c.id == account_id).values(balance_micros=micros)
    town.database.transaction(lambda one: one.execute(changed))


def test_who_falls_below_is_told_once_each_time(town: Town) -> None:
    account_id = town.person()
    assert look(town) == 0  # never had any: nothing runs out
    give(town, account_id, 1_000_000)
    assert (look(town), look(town)) == (0, 0)
    for _ in range(2):
        set_balance(town, account_id, 999_999)
        assert (look(town), look(town)) == (1, 0)
        set_balance(town, account_id, 1_000_000)
        assert (look(town), look(town)) == (0, 0)
    assert town.letters("ada@example.org") == ["Your credit is running out"] * 2


def test_who_is_no_person_or_suspended_is_told_nothing(town: Town) -> None:
    made = make_account(town.database, open_secrets(town.settings), email="bob@example.org")
    assert look(town) == 0
    account_id = town.person()
    give(town, account_id, 1_000_000)
    look(town)
    town.database.transaction(lambda one: one.execute(accounts.update().values(state="suspended", balance_micros=5)))
    assert look(town) == 0
    for one in (made.account_id, account_id):
        set_balance(town, one, 1_000_000)
    assert town.database.transaction(lambda one: low_balance.tell(one, POST, 0, NOW)) == 0


def test_of_several_servers_one_tells(town: Town) -> None:
    account_id = town.person()
    give(town, account_id, 2_000_000)
    look(town)
    set_balance(town, account_id, 1)
    assert sum(at_once(town.database, 12, lambda one, _: low_balance.tell(one, POST, 1_000_000, NOW))) == 1
    set_balance(town, account_id, 2_000_000)
    assert len(town.letters("ada@example.org")) == 1 and town.rows(people)[0]["funded"] == 0


def test_a_server_tells_whose_credit_ran_out(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_S", 0.02)
    account_id, secrets = town.person(), open_secrets(town.settings)
    give(town, account_id, 1_000_000)
    _, key = town.database.transaction(lambda one: issue(one, secrets, account_id, Terms(), NOW))

    async def until(funded: int) -> None:
        async with asyncio.timeout(30):
            while town.rows(people)[0]["funded"] != funded:
                await asyncio.sleep(0.02)

    async def work(browser: Browser) -> None:
        await until(1)
        body = {"query": "red planet", "documents": ["the red planet is Mars"]}
        assert (await visit(browser.app, posting(body, x_api_key=key))).status == 200
        await until(0)

    town.do(work)
    assert town.letters("ada@example.org") == ["Your credit is running out"]
