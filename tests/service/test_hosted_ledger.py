"""The ledger: what is held was there, what is settled is settled once, and after everything the sums add up."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from accounts import NOW, Made, make_account, secrets_in
from gigarank.errors import AccessDenied, InsufficientCredit, InvalidInput, RateLimited, SpendLimitReached, Unauthorized
from gigarank.service.accounts import service as accounts
from gigarank.service.accounts.schemas import Account
from gigarank.service.credits import prices
from gigarank.service.credits.money import micros, usd
from gigarank.service.credits.repository import renew
from gigarank.service.credits.schemas import Grant, Hold, Price, Use
from gigarank.service.credits.service import HOLD_S, audit, grant, release, reserve, settle, sweep
from gigarank.service.db import Database
from gigarank.service.keys import repository as key_rows
from gigarank.service.keys.service import set_disabled
from gigarank.service.tables import accounts as account_rows
from gigarank.service.tables import grants, keys, ledger, usage

T = TypeVar("T")
DAY = 86_400


class Bank:
    """One account on a database, at a time that the test moves."""

    def __init__(self, database: Database, made: Made) -> None:
        self.database, self.made, self.now = database, made, NOW

    def do(self, work: Callable[[Connection], T]) -> T:
        return self.database.transaction(work)

    def hold(self, amount: int, name: str = "use_1", **more: Any) -> Hold:
        hold = Hold(name, self.made.account_id, self.made.key_id, amount, "server_1", **more)
        self.do(lambda one: reserve(one, hold, self.now))
        return hold

    def use(self, amount: int, name: str = "use_1") -> Use:
        made = self.made
        use = Use(name, "req", made.account_id, made.key_id, "m", "/v1/rerank", "default", 2, 9, amount, "price_default", 5)
        self.do(lambda one: settle(one, use, self.now))
        return use

    def free(self, name: str = "use_1") -> bool:
        return self.do(lambda one: release(one, name, self.made.account_id))

    def grant(self, amount: int, **more: Any) -> str:
        return self.do(lambda one: grant(one, self.made.account_id, Grant(amount, **more), self.now))

    def account(self) -> Account:
        return self.do(lambda one: accounts.find(one, self.made.account_id))

    def left(self) -> dict[str, int]:
        rows = self.do(lambda one: one.execute(select(grants.c.reason, grants.c.left_micros)).all())
        return {row.reason: row.left_micros for row in rows}

    def entries(self) -> list[tuple[str, int]]:
        rows = self.do(lambda one: one.execute(select(ledger.c.kind, ledger.c.amount_micros)).all())
        return sorted((row.kind, row.amount_micros) for row in rows)


@pytest.fixture
def bank(database: Database, tmp_path: Path) -> Iterator[Bank]:
    """With 1000 micro-dollars; after the test everything must add up."""
    one = Bank(database, make_account(database, secrets_in(tmp_path), 1_000))
    yield one
    assert one.do(audit).problems == ()


def test_what_is_held_can_be_settled_for_less(bank: Bank) -> None:
    bank.hold(600)
    assert (bank.account().balance_micros, bank.account().held_micros) == (1_000, 600)
    bank.use(500)
    assert (bank.account().balance_micros, bank.account().held_micros) == (500, 0)
    assert bank.entries() == [("debit", -500), ("grant", 1_000)]


def test_what_is_held_is_not_there_for_others(bank: Bank) -> None:
    bank.hold(600)
    with pytest.raises(InsufficientCredit, match=r"costs 0.000401 USD and the account has 0.000400, beside 0.000600 held"):
        bank.hold(401, "use_2")
    bank.hold(400, "use_2")
    assert bank.free() and bank.free("use_2")
    assert bank.account().held_micros == 0


def test_a_hold_ends_once(bank: Bank) -> None:
    bank.hold(600)
    assert bank.free()
    assert not bank.free()
    bank.hold(10, "use_2")
    use = bank.use(10, "use_2")
    assert not bank.free("use_2")
    with pytest.raises(IntegrityError):
        bank.do(lambda one: settle(one, use, bank.now))
    assert bank.account().balance_micros == 990


def test_a_transaction_that_fails_leaves_nothing(bank: Bank) -> None:
    bank.hold(600)

    def work(connection: Connection) -> None:
        release(connection, "use_1", bank.made.account_id)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        bank.do(work)
    assert bank.account().held_micros == 600


def test_a_use_without_a_price_has_its_row(bank: Bank) -> None:
    bank.hold(0)
    bank.use(0)
    assert bank.entries() == [("grant", 1_000)]
    assert len(bank.do(lambda one: one.execute(select(usage)).all())) == 1


def test_a_suspended_account_and_a_disabled_key_hold_nothing(bank: Bank) -> None:
    bank.do(lambda one: accounts.set_state(one, bank.made.account_id, "suspended"))
    with pytest.raises(AccessDenied):
        bank.hold(1)
    bank.do(lambda one: accounts.set_state(one, bank.made.account_id, "active"))
    bank.do(lambda one: set_disabled(one, bank.made.key_id, True))
    with pytest.raises(Unauthorized):
        bank.hold(1)
    assert bank.account().held_micros == 0


# Grants.


def test_grants_are_spent_by_priority_then_by_their_end(bank: Bank) -> None:
    bank.grant(100, reason="late", priority=50, expires=NOW + 2 * DAY)
    bank.grant(100, reason="soon", priority=50, expires=NOW + DAY)
    bank.grant(100, reason="first", priority=1)
    bank.hold(250)
    bank.use(250)
    assert bank.left() == {"grant": 1_000, "first": 0, "soon": 0, "late": 50}
    assert bank.entries()[:3] == [("debit", -100), ("debit", -100), ("debit", -50)]


def test_a_grant_that_is_over_buys_nothing_even_before_the_sweep(bank: Bank) -> None:
    bank.grant(500, expires=NOW + DAY)
    bank.now = NOW + DAY
    with pytest.raises(InsufficientCredit, match=r"costs 0.001001 USD and the account has 0.001000"):
        bank.hold(1_001)
    bank.hold(1_000)
    assert bank.account().balance_micros == 1_000
    assert ("expiry", -500) in bank.entries()


def test_the_sweep_ends_what_is_over_as_far_as_nothing_of_it_is_held(bank: Bank) -> None:
    bank.grant(500, reason="short", priority=1, expires=NOW + DAY)
    bank.hold(1_200)
    bank.now = NOW + DAY
    bank.do(lambda one: sweep_expired(one, NOW + DAY - 1))
    assert bank.left()["short"] == 500
    bank.do(lambda one: sweep_expired(one, bank.now))
    assert bank.left()["short"] == 200
    bank.use(1_100)
    bank.do(lambda one: sweep_expired(one, bank.now))
    assert (bank.left(), bank.account().balance_micros) == ({"grant": 100, "short": 0}, 100)


def sweep_expired(connection: Connection, now: int) -> None:
    """The sweep of credit, while somebody renews the holds."""
    renew(connection, "server_1", now + HOLD_S)
    assert sweep(connection, now) == 0


@pytest.mark.parametrize(("amount", "expires"), [(0, None), (-1, None), (1, NOW), (1, NOW - 1)])
def test_a_grant_is_something_and_not_over(bank: Bank, amount: int, expires: int | None) -> None:
    with pytest.raises(InvalidInput):
        bank.grant(amount, expires=expires)


# The sweeper.


def test_holds_that_nobody_renews_are_given_back(bank: Bank) -> None:
    bank.hold(600)
    assert bank.do(lambda one: sweep(one, NOW + HOLD_S - 1)) == 0
    assert bank.do(lambda one: sweep(one, NOW + HOLD_S)) == 1
    assert bank.account().held_micros == 0


def test_work_that_outlived_its_hold_is_paid_only_where_there_is_credit(bank: Bank) -> None:
    bank.hold(600)
    bank.do(lambda one: sweep(one, NOW + HOLD_S))
    bank.hold(700, "use_2")
    with pytest.raises(InsufficientCredit):
        bank.use(600)
    bank.free("use_2")
    bank.use(600)
    assert bank.account().balance_micros == 400


# A key's cap.


def capped(bank: Bank, cap: int, kind: str) -> None:
    values = {"cap_micros": cap, "cap_period": kind}
    bank.do(lambda one: one.execute(update(keys).values(**values)))


def test_a_key_spends_up_to_its_cap_and_begins_anew_with_the_day(bank: Bank) -> None:
    capped(bank, 100, "day")
    bank.hold(80)
    with pytest.raises(SpendLimitReached, match=r"may spend 0.000100 USD \(day\).*begins anew in 37600 s"):
        bank.hold(21, "use_2")
    bank.hold(20, "use_2")
    bank.use(80)
    bank.use(20, "use_2")
    with pytest.raises(SpendLimitReached):
        bank.hold(1, "use_3")
    bank.now = NOW + DAY
    bank.hold(100, "use_3")
    bank.use(100, "use_3")
    key = bank.do(lambda one: key_rows.by_id(one, bank.made.key_id))
    assert key is not None and key.described(bank.now)["spent_micros"] == 100
    assert key.described(bank.now + DAY)["spent_micros"] == 0
    assert bank.account().balance_micros == 800


def test_a_cap_for_good_does_not_begin_anew(bank: Bank) -> None:
    capped(bank, 100, "total")
    bank.hold(100)
    bank.use(100)
    bank.now = NOW + 400 * DAY
    with pytest.raises(SpendLimitReached):
        bank.hold(1, "use_2")


# At a time.


def test_concurrent_requests_of_account_and_key(bank: Bank) -> None:
    bank.hold(1, most_of_account=2)
    bank.hold(1, "use_2", most_of_account=2)
    with pytest.raises(RateLimited, match="the account has 2 requests running; at most 2"):
        bank.hold(1, "use_3", most_of_account=2)
    with pytest.raises(RateLimited, match="the API key has 2 requests running; at most 1"):
        bank.hold(1, "use_3", most_of_key=1)
    assert bank.account().held_micros == 2
    bank.free()
    bank.hold(1, "use_3", most_of_account=2)


def test_200_spenders_at_once_get_exactly_what_there_is(bank: Bank) -> None:
    """Credit for 50 of them; each holds, and settles, in transactions of its own."""
    served, refused = [], []

    def spend(number: int) -> None:
        try:
            bank.hold(20, f"use_{number}")
        except InsufficientCredit:
            refused.append(number)
        else:
            bank.use(20, f"use_{number}")
            served.append(number)

    def some(start: int) -> None:
        for number in range(start, 200, 10):
            spend(number)

    threads = [threading.Thread(target=some, args=(start,)) for start in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(served), len(refused)) == (50, 150)
    assert (bank.account().balance_micros, bank.account().held_micros) == (0, 0)
    assert len(bank.do(lambda one: one.execute(select(usage)).all())) == 50


# The audit.


def test_the_audit_says_what_does_not_add_up(database: Database, tmp_path: Path) -> None:
    made = make_account(database, secrets_in(tmp_path), 1_000)
    assert database.transaction(audit).problems == ()
    database.transaction(lambda one: one.execute(update(account_rows).values(balance_micros=999)))
    problems = database.transaction(audit).problems
    assert problems[0] == f"{made.account_id}: balance_micros is 999, the sum of the ledger 1000"
    assert len(problems) == 2


# Prices and money.


def price(model: str, amount: int, begins: int, **more: Any) -> Price:
    return replace(Price(f"price_{model}{begins}", model, "default", "tokens", amount, begins), **more)


def test_a_price_holds_from_its_second_until_the_next_one(database: Database) -> None:
    def costs(model: str, now: int) -> int:
        return database.transaction(lambda one: prices.price_of(one, model, "default", now)).micros

    for made in (price("m", 7, NOW), price("m", 9, NOW + 10)):
        database.transaction(lambda one, made=made: prices.set_price(one, made))  # type: ignore[misc]
    assert [costs("m", NOW - 1), costs("m", NOW), costs("m", NOW + 9), costs("m", NOW + 10)] == [50_000, 7, 7, 9]
    assert costs("other", NOW) == 50_000
    with pytest.raises(InvalidInput, match="prices are not changed"):
        database.transaction(lambda one: prices.set_price(one, price("m", 8, NOW, id="price_x")))


def flexible(database: Database, model: str, now: int = NOW) -> Price:
    """As one request is billed, which is as many are shown."""
    one = database.transaction(lambda one: prices.price_of(one, model, "batch", now))
    assert database.transaction(lambda one: prices.prices_of(one, [model, "x"], "batch", now))[model] == one
    return one


@pytest.mark.parametrize("unit", ["tokens", "documents"])
@pytest.mark.parametrize(("realtime", "half"), [(4_000_000, 2_000_000), (4_000_001, 2_000_000), (1, 0), (0, 0)])
def test_a_model_with_a_realtime_price_alone_costs_half_of_it_in_the_flexible_tier(
    database: Database, unit: Any, realtime: int, half: int
) -> None:
    made = price("m", realtime, NOW, unit=unit)
    database.transaction(lambda one: prices.set_price(one, made))
    assert flexible(database, "m") == replace(made, tier="batch", micros=half)
    assert database.transaction(lambda one: prices.price_of(one, "m", "default", NOW)) == made


def test_a_flexible_price_of_its_own_goes_before_half_and_everybody_s_is_for_those_that_have_none(database: Database) -> None:
    dear, own = price("m", 900, NOW), price("m", 7, NOW + 10, tier="batch", id="price_own")
    for made in (dear, own, price("m", 2_000, NOW + 20)):
        database.transaction(lambda one, made=made: prices.set_price(one, made))  # type: ignore[misc]
    assert [flexible(database, "m", NOW + after).micros for after in (0, 9, 10, 20)] == [450, 450, 7, 7]
    for model, now in (("m", NOW - 1), ("other", NOW)):
        assert (flexible(database, model, now).id, flexible(database, model, now).micros) == ("price_batch", 25_000)


def test_prices_round_up_to_a_micro_dollar() -> None:
    by_tokens = price("m", 50_000, 0)
    assert [by_tokens.of(1, tokens) for tokens in (0, 1, 20, 21, 10**6)] == [0, 1, 1, 2, 50_000]
    assert price("m", 1_500, 0, unit="documents").of(3, 10**6) == 5


@pytest.mark.parametrize(
    ("text", "amount"), [("1", 1_000_000), ("0.000001", 1), ("1.25", 1_250_000), (0, 0), ("1e2", 100_000_000)]
)
def test_dollars(text: Any, amount: int) -> None:
    assert micros(text, "usd") == amount
    assert micros(usd(amount), "usd") == amount


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf", "0.0000001", "1e12"])
def test_what_are_no_dollars(text: str) -> None:
    with pytest.raises(InvalidInput, match="usd: "):
        micros(text, "usd")


def test_debts_are_written_too() -> None:
    assert usd(-1_500_000) == "-1.500000"
