"""One request's meter by itself: whoever comes first, the hold or the end, nothing stays held; and the sweeper of a server."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text

from accounts import NOW, Made, make_account, secrets_in
from gigarank.errors import ClientClosed, GigarankError, InsufficientCredit, RateLimited
from gigarank.service.accounts import service as accounts
from gigarank.service.accounts.schemas import Account
from gigarank.service.credits.prices import set_price
from gigarank.service.credits.repository import lock_account
from gigarank.service.credits.schemas import Price
from gigarank.service.credits.service import HOLD_S, audit, settle
from gigarank.service.db import Database, T, Work
from gigarank.service.metering.limits import RateLimiter
from gigarank.service.metering.meter import Bill, House, Meter
from gigarank.service.metering.sweeper import tend
from gigarank.service.tables import reservations
from gigarank.service.tenant import Limits, Tenant
from gigarank.types import Usage

USED = Usage(2, 10, 80, 100)
COST = 5


class Counter:
    """An account at a server's counter."""

    def __init__(self, database: Database, made: Made) -> None:
        self.database, self.made = database, made
        self.house = House(database, RateLimiter("memory://"), "server_1")

    def meter(self, limits: Limits | None = None, dry: bool = False) -> Meter:
        tenant = Tenant(self.made.account_id, self.made.key_id, ("inference",), None, limits or Limits(), Limits())
        return Meter(self.house, tenant, NOW, dry)

    def account(self) -> Account:
        return self.database.transaction(lambda one: accounts.find(one, self.made.account_id))

    def holds(self) -> int:
        return self.database.transaction(lambda one: one.execute(select(func.count()).select_from(reservations)).scalar_one())


@pytest.fixture
def counter(database: Database, tmp_path: Path) -> Iterator[Counter]:
    one = Counter(database, make_account(database, secrets_in(tmp_path), 1_000))
    yield one
    assert database.transaction(audit).problems == ()


def billed(meter: Meter) -> Bill:
    return meter.bill("fake", "default")


def admitted(meter: Meter, bill: Bill) -> None:
    with contextlib.suppress(ClientClosed):
        meter.admit(bill, USED)


def closed(meter: Meter) -> None:
    asyncio.run(meter.close())


def test_a_price_is_that_of_the_moment_at_which_it_is_held(counter: Counter) -> None:
    meter = counter.meter()
    bill = billed(meter)
    assert (bill.price, bill.quoted_micros, bill.micros, counter.holds()) == (None, 0, 0, 0)
    price = Price("price_1", "fake", "default", "tokens", 1_000_000, NOW)
    counter.database.transaction(lambda one: set_price(one, price))
    meter.admit(bill, USED)
    counter.database.transaction(lambda one: set_price(one, replace(price, id="price_2", micros=7, valid_from=NOW + 1)))
    assert (bill.price, bill.quoted_micros, counter.account().held_micros) == (price, 100, 100)
    asyncio.run(meter.use(bill, USED))
    assert [(use.price_id, use.amount_micros) for use in meter.uses("req-1", "/v1/rerank", 7)] == [("price_1", 100)]
    closed(meter)


def test_what_read_nothing_has_a_row_for_nothing(counter: Counter) -> None:
    """Nobody asks whether it may be computed, and so nobody asked for its price."""
    meter = counter.meter()
    asyncio.run(meter.use(billed(meter), Usage(0, 0, 0, 0)))
    assert [(use.price_id, use.amount_micros) for use in meter.uses("req-1", "/v1/rerank", 7)] == [("price_default", 0)]
    closed(meter)


def test_what_is_held_is_given_back_at_the_end(counter: Counter) -> None:
    meter = counter.meter()
    bill = billed(meter)
    meter.admit(bill, USED)
    assert (bill.quoted_micros, counter.account().held_micros, counter.holds()) == (COST, COST, 1)
    closed(meter)
    assert (counter.account().held_micros, counter.holds(), counter.account().balance_micros) == (0, 0, 1_000)
    closed(meter)


def test_a_hold_that_comes_after_the_end_is_none(counter: Counter) -> None:
    """The client left while its texts were being counted."""
    meter = counter.meter()
    bill = billed(meter)
    closed(meter)
    with pytest.raises(ClientClosed):
        meter.admit(bill, USED)
    assert (counter.account().held_micros, counter.holds()) == (0, 0)


class Slow(Database):
    """Its transactions wait at their beginning, or before their commit, until they may go on."""

    def __init__(self, url: str, late: bool) -> None:
        super().__init__(url)
        self.late, self.came, self.may = late, threading.Event(), threading.Event()

    def transaction(self, work: Work[T]) -> T:
        def waiting(connection: Connection) -> T:
            done = [work(connection)] if self.late else []
            self.came.set()
            assert self.may.wait(30.0)
            return done[0] if done else work(connection)

        return super().transaction(waiting)

    def ends(self) -> None:
        """Returns once it takes nothing more."""
        with contextlib.suppress(RuntimeError):
            while self._threads.submit(int):
                pass


@pytest.mark.parametrize("late", [False, True], ids=["before-the-hold", "before-its-commit"])
def test_a_server_that_ends_in_the_middle_of_a_hold_leaves_nothing(counter: Counter, database_url: str, late: bool) -> None:
    """The request ends, the database is closed, and only then the hold goes on: nobody is left to give it back."""
    slow = Slow(database_url, late)
    meter = counter.meter()
    meter.house = House(slow, counter.house.limiter, "server_1")
    holding = threading.Thread(target=admitted, args=(meter, billed(meter)))
    holding.start()
    assert slow.came.wait(30.0)

    def end() -> None:
        closed(meter)
        slow.close()

    ending = threading.Thread(target=end)
    ending.start()
    if not late:  # nothing is held yet, and so nothing is waited for
        slow.ends()
    slow.may.set()
    for thread in (holding, ending):
        thread.join(30.0)
    assert (counter.account().held_micros, counter.holds()) == (0, 0)


def test_an_end_in_the_middle_of_holding_leaves_nothing(counter: Counter) -> None:
    for _ in range(20):
        meter = counter.meter()
        bill = billed(meter)
        thread = threading.Thread(target=admitted, args=(meter, bill))
        thread.start()
        closed(meter)
        thread.join()
        assert counter.holds() == 0


def test_several_questions_of_one_request_are_billed_each(counter: Counter) -> None:
    meter = counter.meter()
    bills = [billed(meter), billed(meter)]
    for bill in bills:
        meter.admit(bill, USED)
        bill.used = USED
    assert counter.account().held_micros == 2 * COST
    uses = meter.uses("req-1", "/v1/rerank", 7)
    assert [(use.id, use.amount_micros, use.latency_ms) for use in uses] == [(bill.id, COST, 7) for bill in bills]
    closed(meter)


def test_what_was_not_computed_is_no_use(counter: Counter) -> None:
    meter = counter.meter()
    meter.admit(billed(meter), USED)
    assert meter.uses("req-1", "/v1/rerank", 7) == []
    closed(meter)


def test_a_refusal_holds_nothing(counter: Counter) -> None:
    meter = counter.meter()
    with pytest.raises(InsufficientCredit):
        meter.admit(billed(meter), Usage(1, 0, 10**9, 10**9))
    limited = counter.meter(Limits(tokens_per_minute=150))
    limited.admit(billed(limited), USED)
    with pytest.raises(RateLimited):
        limited.admit(billed(limited), USED)
    closed(limited)
    closed(meter)
    assert counter.holds() == 0


def test_a_dry_run_counts_in_no_limit(counter: Counter) -> None:
    limits = Limits(tokens_per_minute=150)
    for _ in range(3):
        meter = counter.meter(limits, dry=True)
        bill = billed(meter)
        with pytest.raises(GigarankError, match="the price is known"):
            meter.admit(bill, USED)
        assert bill.quoted_micros == COST
    assert asyncio.run(counter.house.limiter.headers(meter.tenant))["x-ratelimit-remaining-tokens"] == "150"


# The sweeper.


def test_a_server_renews_its_own_holds_and_ends_those_of_a_dead_one(counter: Counter, caplog: pytest.LogCaptureFixture) -> None:
    alive, dead = counter.meter(), counter.meter()
    dead.house = House(counter.database, counter.house.limiter, "server_2")
    alive.admit(billed(alive), USED)
    dead.admit(billed(dead), USED)
    assert asyncio.run(tend(counter.database, "server_1", NOW + HOLD_S - 1)) == 0
    assert asyncio.run(tend(counter.database, "server_1", NOW + HOLD_S)) == 1
    assert (counter.account().held_micros, counter.holds()) == (COST, 1)
    assert "released 1 holds" in caplog.text
    closed(alive)
    closed(dead)
    assert counter.account().held_micros == 0


def test_a_request_is_settled_while_its_server_looks_after_its_holds(counter: Counter, database_url: str) -> None:
    """Whoever settles has the account and wants the hold; whoever looks after holds renews it, and wants the account for the
    hold of a server that has ended."""
    alive, dead = counter.meter(), counter.meter()
    dead.house = House(counter.database, counter.house.limiter, "server_2")
    bill = billed(alive)
    alive.admit(bill, USED)
    dead.admit(billed(dead), USED)
    asyncio.run(alive.use(bill, USED))
    other = Database(database_url)
    tending = threading.Thread(target=lambda: asyncio.run(tend(other, "server_1", NOW + HOLD_S)))

    def settling(connection: Connection) -> None:
        lock_account(connection, counter.made.account_id)
        tending.start()
        if not counter.database.embedded:  # an embedded one has let in nobody since this began
            blocked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not counter.database.call(lambda one: one.execute(blocked).scalar_one()):
                pass
        for use in alive.uses("req-1", "/v1/rerank", 7):
            settle(connection, use, NOW)

    counter.database.transaction(settling)
    tending.join(30.0)
    other.close()
    assert (counter.account().balance_micros, counter.account().held_micros, counter.holds()) == (1_000 - COST, 0, 0)


def test_a_batch_s_request_counts_in_no_limit_and_says_so_in_its_row(counter: Counter) -> None:
    tenant = Tenant(
        counter.made.account_id,
        counter.made.key_id,
        ("inference",),
        None,
        Limits(tokens_per_minute=1, concurrent_requests=1),
        Limits(),
    )
    meters = [Meter(counter.house, tenant, NOW, batch_id="batch_1") for _ in range(2)]
    for meter in meters:
        bill = meter.bill("fake", "batch")
        meter.admit(bill, USED)
        bill.used = USED
    assert counter.holds() == 2
    (use,) = meters[0].uses("req", "/v1/rerank", 5)
    assert (use.batch_id, use.tier, use.amount_micros) == ("batch_1", "batch", 3)
    for meter in meters:
        closed(meter)
    assert counter.holds() == 0
