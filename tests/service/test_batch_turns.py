"""Whose batch is next, and how many an account may have open: with many accounts, many servers, at the same time."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from accounts import NOW, Made
from batching import Client, Works, lines
from gigarank.errors import RateLimited
from gigarank.service.accounts import service as accounts
from gigarank.service.batches import files as domain
from gigarank.service.batches import repository, service
from gigarank.service.batches.schemas import Asked
from gigarank.service.credits.service import HOLD_S
from gigarank.service.db import Database
from gigarank.service.metering.gate import AccountGate
from gigarank.service.settings import Settings
from gigarank.service.tables import batch_turns, batches
from gigarank.service.tenant import Limits, Tenant

MOST = 64


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path) -> Works:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    return Works(settings, database)


def begin(database: Database, made: Made, most: int = MOST, now: int = NOW) -> str:
    """A batch of the account's; its id."""
    tenant = Tenant(made.account_id, made.key_id, ("inference",), None, Limits(), Limits())
    file_id = domain.new_file_id()

    def announce(one: Any) -> None:
        domain.announce(one, made.account_id, file_id, ("batch", "x", 1), (now, now + 9_999))
        repository.set_file(one, file_id, state="ready")

    database.transaction(announce)
    asked = Asked("/v1/rerank", file_id, None, None)
    return str(database.transaction(lambda one: service.create(one, tenant, asked, now, most))["id"])


def claimed(database: Database, owner: str, now: int = NOW) -> Any:
    return database.transaction(lambda one: repository.claim(one, owner, now, now + HOLD_S))


def freed(database: Database, batch: Any, turn: int, **values: Any) -> None:
    """As whoever has done a step of it."""
    changed = {"owner": None, "held_until": 0, "turn": turn, **values}
    database.transaction(lambda one: one.execute(update(batches).where(batches.c.id == batch["id"]).values(**changed)))


def test_an_account_with_many_batches_keeps_nobody_waiting(works: Works) -> None:
    """Its batches are older, and end in one step, so that none of them ever has had a turn."""
    for _ in range(40):
        begin(works.database, works.made)
    others = [works.another(f"{name}@example.org") for name in "bc"]
    for other in others:
        begin(works.database, other, now=NOW + 100)
    whose = []
    for step in range(12):
        batch = claimed(works.database, "me")
        whose.append(batch["account_id"])
        ends = batch["account_id"] == works.made.account_id
        freed(works.database, batch, NOW * 1_000 + step, state="completed" if ends else "in_progress")
    assert whose[0] == works.made.account_id  # who has waited for longest
    for place in range(0, 12, 3):
        assert set(whose[place : place + 3]) == {works.made.account_id, *(other.account_id for other in others)}, whose


def test_the_batches_of_an_account_take_turns_too(works: Works) -> None:
    made = [begin(works.database, works.made, now=NOW + number) for number in range(3)]
    seen = []
    for step in range(6):
        batch = claimed(works.database, "me")
        seen.append(batch["id"])
        freed(works.database, batch, (NOW + 10 + step) * 1_000)
    assert seen == made * 2


def test_whoever_comes_back_is_next_and_only_once(works: Works) -> None:
    first, other = begin(works.database, works.made), works.another("b@example.org")
    freed(works.database, claimed(works.database, "me"), 1, state="completed")
    begin(works.database, other)
    for step in range(5):
        freed(works.database, claimed(works.database, "me"), step)
    again = begin(works.database, works.made, now=NOW + 100)
    batch = claimed(works.database, "me")
    assert batch["id"] == again != first
    freed(works.database, batch, 0)
    assert claimed(works.database, "me")["account_id"] == other.account_id


def side_by_side(count: int, work: Callable[[int], Any]) -> list[Any]:
    """In so many threads, which begin together."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait(10)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_servers_that_claim_at_once_take_turns_as_one_would(works: Works, database_url: str) -> None:
    """Each has one batch at a time of six accounts' twelve: at no time has an account been served twice more than another that
    waited, in the order that the database kept."""
    people = [works.made, *(works.another(f"{name}@example.org") for name in "bcdef")]
    for person in people:
        for _ in range(12):
            begin(works.database, person)
    opened = [Database(database_url) for _ in range(4)]
    order: list[str] = []

    def serve(number: int) -> None:
        dice = random.Random(number)
        for step in range(12):

            def work(one: Any) -> Any:
                batch = repository.claim(one, f"server {number}", NOW, NOW + HOLD_S)
                assert batch is not None
                turns = select(batch_turns.c.turn).where(batch_turns.c.account_id == batch["account_id"])
                return batch, one.execute(turns).scalar_one()

            batch, turn = opened[number].transaction(work)
            order.append(f"{turn:06} {batch['account_id']}")
            if dice.random() < 0.7:
                freed(opened[number], batch, NOW * 1_000 + step)

    side_by_side(4, serve)
    for database in opened:
        database.close()
    whose = [text.split()[1] for text in sorted(order)]
    assert len(whose) == 48 and len({text[:6] for text in order}) == 48  # no turn was anybody's twice
    for place in range(0, 48, 6):
        assert len(set(whose[place : place + 6])) == 6, whose


def test_no_two_servers_claim_one_batch(works: Works, database_url: str) -> None:
    made = {begin(works.database, works.made) for _ in range(24)}
    opened = [Database(database_url) for _ in range(4)]
    found = side_by_side(4, lambda number: [claimed(opened[number], str(number))["id"] for _ in range(6)])
    for database in opened:
        database.close()
    assert Counter(one for several in found for one in several) == Counter(made)


def test_a_claim_waits_for_nobody_that_holds_the_account(works: Works, database_url: str) -> None:
    """A request of the account's that is settled, or its deletion, goes on to its batches: they would wait for each other."""
    if works.database.embedded:
        pytest.skip("SQLite has one writer at a time")
    begin(works.database, works.made)
    other = Database(database_url)

    def holding(one: Any) -> None:
        accounts.hold_open(one, works.made.account_id)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(claimed, other, "b").result(5) is not None

    works.database.transaction(holding)
    other.close()


def test_an_account_has_so_many_open_batches(works: Works) -> None:
    works.settings = replace(works.settings, max_open_batches=3)
    works.gate = lambda: AccountGate(works.settings)  # no server works on them
    other = works.another("b@example.org")

    async def work(client: Client) -> None:
        file_id = await client.upload(lines(1))
        body = {"input_file_id": file_id, "endpoint": "/v1/rerank", "completion_window": "24h"}
        made = [(await client.post("/v1/batches", body)).json["id"] for _ in range(3)]
        refused = await client.post("/v1/batches", body)
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert (refused.error["param"], refused.error["limit"], refused.error["received"]) == ("max_open_batches", 3, 4)
        assert "has 3 batches that are not done; at most 3" in refused.error["message"]
        assert int(refused.headers["retry-after"]) > 0
        await Client(client.app, other.key).create(lines(1))
        ended = update(batches).where(batches.c.id == made[0]).values(state="cancelled")
        works.database.transaction(lambda one: one.execute(ended))
        assert (await client.post("/v1/batches", body)).status == 200
        assert (await client.post("/v1/batches", body)).status == 429

    works.do(work)


def test_the_limit_holds_for_batches_that_begin_at_once(works: Works, database_url: str) -> None:
    opened = [Database(database_url) for _ in range(6)]

    def work(number: int) -> int:
        made = 0
        for _ in range(4):
            try:
                begin(opened[number], works.made, most=10)
            except RateLimited as refused:
                assert (refused.limit, refused.received) == (10, 11)
            else:
                made += 1
        return made

    counts = side_by_side(6, work)
    for database in opened:
        database.close()
    assert sum(counts) == 10
