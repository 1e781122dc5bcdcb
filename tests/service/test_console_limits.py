"""What is taken of limits, and which requests lead to the texts that are kept: as pages, and as JSON."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from forms import BROWSER, Page, fill, look
from gigarank.errors import DatabaseUnavailable
from gigarank.service.bodies.schemas import Asked, Seen
from gigarank.service.bodies.service import keep, set_terms
from gigarank.service.credits.schemas import Grant, Hold
from gigarank.service.credits.service import grant, reserve
from gigarank.service.db import Database
from gigarank.service.hosted import open_database, open_secrets
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue
from gigarank.service.metering.limits import RateLimiter
from gigarank.service.offer_tables import bodies
from gigarank.service.settings import Settings
from gigarank.service.tables import accounts
from gigarank.service.tenant import Limits, Tenant
from people import Browser, Town

ASKED = {"query": "red planet", "documents": ["the red planet is Mars", "stones"]}
WHOLE, BY_KEY = "Of the whole account", "By key, what is taken and its own limit"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite. Ada has a dollar, and the server's limits."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    most = {"requests_per_minute": 50, "tokens_per_minute": 9_000, "concurrent_requests": 4}
    made = Town(database, url, tmp_path, max_body_days=30, **most)
    account_id = made.person()
    database.transaction(lambda one: grant(one, account_id, Grant(1_000_000), made.now))
    yield made
    database.close()


def key_of(town: Town, name: str, limits: Limits | None = None) -> tuple[str, str]:
    """(id, text)"""
    secrets, (account, *_) = open_secrets(town.settings), town.rows(accounts)
    terms = Terms(name, limits=limits or Limits())
    key, text = town.database.transaction(lambda one: issue(one, secrets, account["id"], terms, town.now))
    return key.id, text


def signed_in(town: Town, work: Any) -> None:
    async def begun(browser: Browser) -> None:
        await browser.sign_in()
        await work(browser)

    town.do(begun)


async def rank(browser: Browser, key: str, **headers: str) -> None:
    reply = await browser.post("/v1/rerank", ASKED, x_api_key=key, cookie="", **headers)
    assert reply.status == 200, reply.body


def test_what_is_taken_is_told_by_account_and_by_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_795_000_010.0)  # the minute slides with the clock of the machine
    (_, free), (narrow_id, narrow) = key_of(town, "free"), key_of(town, "narrow", Limits(10, None, 2))

    async def work(browser: Browser) -> None:
        before = await browser.well("own_limits")
        assert before["account"]["requests_per_minute"] == {"limit": 50, "used": 0}
        for key in (free, narrow, narrow):
            await rank(browser, key)
        told = await browser.well("own_limits")
        assert told == await browser.well("own_limits")  # looking takes nothing
        tokens = told["account"]["tokens_per_minute"]
        assert told["account"]["requests_per_minute"] == {"limit": 50, "used": 3} and tokens["limit"] == 9_000
        assert tokens["used"] > 0 and tokens["used"] % 3 == 0
        of_free, of_narrow = sorted(told["keys"], key=lambda key: str(key["name"]))
        assert of_free["requests_per_minute"] == {"limit": None, "used": None}
        assert of_narrow["requests_per_minute"] == {"limit": 10, "used": 2}
        assert of_narrow["tokens_per_minute"] == {"limit": None, "used": None}
        page = await look(browser, "/console/limits")
        assert [row[:3] for row in page.tables[WHOLE][1:]] == [
            ["Requests a minute", "3", "50"],
            ["Tokens a minute", str(tokens["used"]), "9,000"],
            ["Requests at once", "0", "4"],
        ]
        assert sorted(page.tables[BY_KEY][1:]) == [
            ["free", "not limited", "not limited", "not limited"],
            ["narrow", "2 of 10", "not limited", "0 of 2"],
        ]
        assert f"/console/keys/{narrow_id}" in page.links and "/console/limits" in (await look(browser, "/console")).links

    signed_in(town, work)


def test_what_runs_is_counted_of_its_key_and_not_what_batches_run(town: Town) -> None:
    key_id, _ = key_of(town, "one", Limits(None, None, 3))
    account_id = town.rows(accounts)[0]["id"]
    for number, batch in enumerate((None, None, "batch_1")):
        hold = Hold(f"hold_{number}", account_id, key_id, 10, "server_1", batch_id=batch)
        town.database.transaction(partial(lambda held, one: reserve(one, held, town.now), hold))

    async def work(browser: Browser) -> None:
        told = await browser.well("own_limits")
        assert told["account"]["concurrent_requests"] == {"limit": 4, "used": 2}
        assert told["keys"][0]["concurrent_requests"] == {"limit": 3, "used": 2}

    signed_in(town, work)


def test_an_account_without_limits_has_none_and_nothing_is_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    town = Town(database, url, tmp_path)
    town.person()

    async def work(browser: Browser) -> None:
        page = await look(browser, "/console/limits")
        assert page.tables[WHOLE][1][:3] == ["Requests a minute", "not counted", "not limited"]
        assert "There is no key yet." in page.text

    signed_in(town, work)
    database.close()


def test_a_redis_that_does_not_answer_is_said(tmp_path: Path) -> None:
    dead, one = RateLimiter(f"redis+unix://{tmp_path / 'nobody'}"), Tenant("acc", "key", (), None, Limits(3), Limits())
    with pytest.raises(DatabaseUnavailable, match="requests cannot be counted"):
        asyncio.run(dead.taken(one))


def test_a_row_of_requests_leads_to_what_was_said_where_it_is_kept(town: Town) -> None:
    """Bo's request has the name of one of Ada's, and was kept."""
    (key_id, key), bo = key_of(town, "one"), town.person("bo_b@example.org")
    of_bo = Tenant(bo, key_id, (), None, Limits(), Limits())
    town.database.transaction(lambda one: set_terms(one, bo, Asked(7, None), town.now))

    async def work(browser: Browser) -> None:
        await rank(browser, key, x_request_id="before")
        town.database.transaction(
            lambda one: keep(one, of_bo, Seen("before", "/v1/rerank", 200, b"{}", b"{}", 30, 100), town.now)
        )
        await fill(browser, "/console/settings", {"days": "7"})
        await rank(browser, key, x_request_id="once")
        await rank(browser, key, x_request_id="twice")
        await rank(browser, key, x_request_id="twice")
        kept = {row["request_id"]: row["id"] for row in town.rows(bodies)}
        assert "before" in kept
        page = await look(browser, "/console/requests")
        assert sorted(link for link in page.links if link.startswith("/console/logs")) == [
            "/console/logs",
            f"/console/logs/{kept['once']}",
            *(["/console/logs?request_id=twice"] * 2),
        ]
        assert "the red planet is Mars" in (await look(browser, f"/console/logs/{kept['once']}")).text
        twice = await look(browser, "/console/logs?request_id=twice")
        assert len(twice.tables["Kept bodies, the newest first"][1:]) == 2

    signed_in(town, work)


def test_requests_are_chosen_by_model(town: Town) -> None:
    _, key = key_of(town, "one")

    async def work(browser: Browser) -> None:
        await rank(browser, key)
        caption = "Requests, the newest first"
        page = await look(browser, "/console/requests?model=fake")
        assert page.forms["/console/requests"]["model"] == "fake" and page.tables[caption][1][1] == "fake"
        other = await browser.get("/console/requests?model=nano", accept=BROWSER)
        assert Page(other).tables[caption][1:] == [["Nothing in this time."]]
        assert Page(other).forms["/console/requests"]["model"] == "nano"

    signed_in(town, work)
