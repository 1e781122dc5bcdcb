"""The ledger under any order of events: it always adds up, and nobody gets more than there is."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from accounts import NOW, Made, make_account, secrets_in
from gigarank.errors import InsufficientCredit
from gigarank.service.accounts import service as accounts
from gigarank.service.credits.schemas import Grant, Hold, Use
from gigarank.service.credits.service import audit, grant, release, reserve, settle, sweep
from gigarank.service.db import Database
from gigarank.service.migrations import migrate

AMOUNT = st.integers(0, 60)
EVENT = st.one_of(
    st.tuples(st.just("grant"), st.integers(1, 60), st.integers(0, 2)),
    st.tuples(st.just("reserve"), AMOUNT, st.just(0)),
    st.tuples(st.just("settle"), st.integers(0, 9), AMOUNT),
    st.tuples(st.just("release"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("sweep"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 90), st.just(0)),
)


class Run:
    """`holds`: those that the test believes open."""

    def __init__(self, database: Database, made: Made) -> None:
        self.database, self.made, self.now = database, made, NOW
        self.holds: dict[str, int] = {}
        self.made_holds = 0

    def step(self, kind: str, first: int, second: int) -> None:
        getattr(self, kind)(first, second)

    def grant(self, amount: int, days: int) -> None:
        expires = self.now + 40 * days if days else None
        self.database.transaction(lambda one: grant(one, self.made.account_id, Grant(amount, "g", days, expires), self.now))

    def reserve(self, amount: int, _: int) -> None:
        self.made_holds += 1
        hold = Hold(f"use_{self.made_holds}", self.made.account_id, self.made.key_id, amount, "server")
        try:
            self.database.transaction(lambda one: reserve(one, hold, self.now))
        except InsufficientCredit:
            return
        self.holds[hold.id] = amount

    def settle(self, which: int, amount: int) -> None:
        if not self.holds:
            return
        name = sorted(self.holds)[which % len(self.holds)]
        made = self.made
        cost = min(amount, self.holds[name])
        use = Use(name, "r", made.account_id, made.key_id, "m", "/", "default", 1, 1, cost, "price_default", 1)
        try:
            self.database.transaction(lambda one: settle(one, use, self.now))
        except InsufficientCredit:
            return
        del self.holds[name]

    def release(self, which: int, _: int) -> None:
        if self.holds:
            name = sorted(self.holds)[which % len(self.holds)]
            self.database.transaction(lambda one: release(one, name, self.made.account_id))
            del self.holds[name]

    def sweep(self, _: int, __: int) -> None:
        self.database.transaction(lambda one: sweep(one, self.now))

    def wait(self, seconds: int, _: int) -> None:
        self.now += seconds


@settings(max_examples=25, deadline=None)
@given(st.lists(EVENT, min_size=5, max_size=30))
def test_whatever_happens_it_adds_up(events: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/x.db")
        migrate(database)
        run = Run(database, make_account(database, secrets_in(Path(folder)), 100))
        for event in events:
            run.step(*event)
            account = database.transaction(lambda one: accounts.find(one, run.made.account_id))
            assert account.balance_micros >= account.held_micros >= 0
            assert database.transaction(audit).problems == ()
        database.close()
