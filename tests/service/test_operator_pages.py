"""What operators see and do: accounts, the life of models, queues, health."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from forms import BROWSER, Page, fill, follow, look, send
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.catalogue import service as catalogue
from gigarank.service.credits.schemas import Grant, Hold
from gigarank.service.credits.service import grant, reserve
from gigarank.service.db import Database
from gigarank.service.hosted import open_database, open_secrets
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue
from gigarank.service.settings import Settings
from gigarank.service.standing import filled
from gigarank.service.tables import accounts, grants
from people import Browser, Town

WISH = "Qwen/Qwen3-Reranker-99B"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite; the services are tested on both. An operator, and Bo."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    made = Town(database, url, tmp_path)
    made.operator()
    made.person("bo_b@example.org")
    yield made
    database.close()


def id_of(town: Town, email: str) -> str:
    (found,) = [row["id"] for row in town.rows(accounts) if row["email"] == email]
    return str(found)


def signed_in(town: Town, work: Any) -> None:
    async def begun(browser: Browser) -> None:
        await browser.sign_in()
        await work(browser)

    town.do(begun)


def test_accounts_are_listed_by_pages_and_searched(town: Town) -> None:
    async def work(browser: Browser) -> None:
        caption = "Accounts by id"
        assert len((await look(browser, "/operator")).tables[caption][1:]) == 2
        page = await look(browser, "/operator?limit=1")
        (more,) = [link for link in page.links if "after=" in link]
        rows = page.tables[caption][1:] + (await look(browser, more)).tables[caption][1:]
        assert sorted(row[0] for row in rows) == ["ada@example.org", "bo_b@example.org"]
        for part, count in (("BO_", 1), ("b%b", 0), ("example", 2), (id_of(town, "bo_b@example.org"), 1)):
            found = (await look(browser, f"/operator?search={part}")).tables[caption][1:]
            assert len([row for row in found if len(row) > 1]) == count, part
        assert {"/operator/models", "/operator/queues", "/operator/health"} <= set(page.links)

    signed_in(town, work)


def test_credit_is_granted_and_its_amount_checked(town: Town) -> None:
    async def work(browser: Browser) -> None:
        path = f"/operator/accounts/{id_of(town, 'bo_b@example.org')}"
        for fields, said in (
            ({"usd": "0"}, "amount: must be above 0"),
            ({"usd": "x"}, "usd: an amount in US dollars"),
            ({"usd": "1", "reason": " "}, "reason: must not be empty"),
            ({"usd": "1", "reason": "r" * 201}, "reason: at most 200 characters, not 201"),
        ):
            reply = await fill(browser, path, fields, f"{path}/grant")
            assert reply.status == 400 and said in Page(reply).text
            assert Page(reply).forms[f"{path}/grant"]["usd"] == fields["usd"]
        assert town.count(grants) == 0
        page = await follow(browser, await fill(browser, path, {"usd": "2.50", "reason": "for a talk"}, f"{path}/grant"))
        assert "The credit is granted." in page.text and "Balance $2.50" in page.text
        assert [(row["amount_micros"], row["reason"]) for row in town.rows(grants)] == [(2_500_000, "for a talk")]

    signed_in(town, work)


def test_an_account_is_suspended_and_resumed_and_never_one_s_own(town: Town) -> None:
    async def work(browser: Browser) -> None:
        bo = town.browser(browser.app)
        await bo.sign_in("bo_b@example.org")
        path = f"/operator/accounts/{id_of(town, 'bo_b@example.org')}"
        assert "State suspended" in (await follow(browser, await fill(browser, path, {}, f"{path}/state"))).text
        assert (await bo.get("/console", accept=BROWSER)).status == 403
        assert "State active" in (await follow(browser, await fill(browser, path, {}, f"{path}/state"))).text
        assert (await bo.get("/console", accept=BROWSER)).status == 200
        own = f"/operator/accounts/{id_of(town, 'ada@example.org')}"
        assert f"{own}/state" not in (await look(browser, own)).forms
        token = csrf_token(browser.cookie.partition("=")[2])
        reply = await send(browser, f"{own}/state", {"state": "suspended", "csrf_token": token})
        assert reply.status == 400 and "account: is your own" in Page(reply).text
        reply = await send(browser, f"{path}/state", {"state": "deleted", "csrf_token": token})
        assert reply.status == 400 and "state: must be one of active, suspended" in Page(reply).text

    signed_in(town, work)


def test_a_model_goes_from_state_to_state_with_its_figures(town: Town) -> None:
    voter = id_of(town, "bo_b@example.org")
    town.database.transaction(lambda one: catalogue.ask(one, WISH, voter, town.now))
    town.database.transaction(
        lambda one: catalogue.note(one, WISH, "doctor: no space", {"step": "bench", "at": town.now, "result": {"ms": 4711}})
    )

    async def work(browser: Browser) -> None:
        page = await look(browser, "/operator/models")
        assert "Votes 1" in page.text and "doctor: no space" in page.text and '"ms": 4711' in page.text
        token = page.forms["/operator/models"]["csrf_token"]
        for state in ("benchmarking", "onboarding", "live"):
            moved = await send(browser, "/operator/models/state", {"model": WISH, "state": state, "csrf_token": token})
            page = await follow(browser, moved)
            assert f"{WISH} {state}" in page.text
        assert town.letters("bo_b@example.org") == [f"{WISH} is served now"]
        reply = await send(browser, "/operator/models/state", {"model": WISH, "state": "proposed", "csrf_token": token})
        assert reply.status == 400 and "is live, and may become retired" in Page(reply).text
        assert "nano proposed" in (await follow(browser, await fill(browser, "/operator/models", {"model": "nano"}))).text
        wrong = await fill(browser, "/operator/models", {"model": "no model"})
        assert wrong.status == 400 and Page(wrong).forms["/operator/models"]["model"] == "no model"

    signed_in(town, work)


def test_queues_show_what_waits_and_how_full_batches_are(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = dict.fromkeys(("batches", "interruptions", "failed_batches", "busy_s"), 0)
    worker = SimpleNamespace(**zeros, tokens=3, room_tokens=4)
    counts = {"fake": SimpleNamespace(worker=worker), "fake-embedder": SimpleNamespace(worker=None)}
    monkeypatch.setattr(type(town.backend), "counters", lambda _self: counts, raising=False)

    async def work(browser: Browser) -> None:
        page = await look(browser, "/operator/queues")
        assert [row[0] for row in page.tables["Models"][1:]] == ["fake", "fake-embedder"]
        assert page.tables["Models"][1][2:] == ["0", "0", "0", "–", "75.0 %"]
        assert page.tables["Models"][2][-1] == "not known"
        assert page.tables["Batches of accounts that are open"][1:] == [["There is none."]]
        assert "live.js" in page.reply.body.decode() and b'data-figures="/v1/operator/queues"' in page.reply.body
        told = (await browser.well("show_queues"))["models"]
        assert [(one["model"], one["batch_tokens"], one["batch_room_tokens"], one["filled"]) for one in told] == [
            ("fake", 3, 4, 0.75),
            ("fake-embedder", 0, 0, None),
        ]

    signed_in(town, work)


def test_health_tells_of_sums_and_holds(town: Town) -> None:
    bo = id_of(town, "bo_b@example.org")
    secrets = open_secrets(town.settings)
    town.database.transaction(lambda one: grant(one, bo, Grant(1_000_000), town.now))
    key, _ = town.database.transaction(lambda one: issue(one, secrets, bo, Terms(), town.now))
    town.database.transaction(lambda one: reserve(one, Hold("hold_1", bo, key.id, 250_000, "server_1"), town.now - 3_600))

    async def work(browser: Browser) -> None:
        text = (await look(browser, "/operator/health")).text
        assert "The ledger of 2 accounts adds up." in text
        assert "Reservations 1 Held by them $0.25 Of processes that ended 1" in text and "Letters that wait 0" in text
        assert "Every model that is kept loaded answers." in text
        town.database.transaction(lambda one: one.execute(update(accounts).values(balance_micros=2_000_000)))
        assert "sums are not as they should be" in (await look(browser, "/operator/health")).text

    signed_in(town, work)


def test_no_tokens_fill_nothing() -> None:
    assert filled(None) is None and filled(SimpleNamespace(tokens=0, room_tokens=0)) is None
