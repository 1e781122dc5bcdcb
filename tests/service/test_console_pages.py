"""What a person sees and does in the console: keys, usage, credit, requests, settings. What is behind it is real."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forms import BROWSER, Page, fill, follow, look, send
from gigarank.errors import InvalidInput
from gigarank.service.accounts import repository
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.credits.topups import make_codes
from gigarank.service.db import Database
from gigarank.service.hosted import open_database
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import find
from gigarank.service.settings import Settings
from gigarank.service.tables import accounts, keys, sessions
from gigarank.service.tenant import SCOPES, Limits
from gigarank.service.web import plots
from gigarank.service.web.charts import HEIGHT, columns
from gigarank.service.web.key_pages import read_terms
from gigarank.service.web.settings_pages import read_days
from gigarank.service.web.shown import dollars
from people import PASSWORD, Browser, Town

EMAIL = "ada@example.org"
ASKED = {"query": "red planet", "documents": ["the red planet is Mars", "stones"]}
KEY = "/console/keys/new"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite: what the pages show is asked of both databases where it is made. One account with 1 USD."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    made = Town(database, url, tmp_path, max_body_days=30, tokens_per_minute=9_000)
    account_id = made.person()
    database.transaction(lambda one: grant(one, account_id, Grant(1_000_000, "a gift"), made.now - 86_400))
    yield made
    database.close()


async def key_of(browser: Browser, **fields: str) -> str:
    """The text of a key that was made by the form."""
    reply = await fill(browser, KEY, {"name": "mine", **fields})
    assert reply.status == 200, reply.body
    (text,) = {word.strip("',") for word in Page(reply).text.split() if word.startswith("grk_")}
    return text


def signed_in(town: Town, work: Any) -> None:
    async def begun(browser: Browser) -> None:
        await browser.sign_in()
        await work(browser)

    town.do(begun)


def test_a_key_is_made_shown_once_and_ranks(town: Town) -> None:
    async def work(browser: Browser) -> None:
        text = await key_of(browser)
        reply = await browser.post("/v1/rerank", ASKED, x_api_key=text, cookie="")
        assert [one["index"] for one in reply.json["results"]] == [0, 1]
        (row,) = (await look(browser, "/console/keys")).tables["The account's keys"][1:]
        assert row[:3] == ["mine", text[:8] + "…", "in use"] and row[4:6] == ["none", "never"]
        assert row[6] == "2026-11-26 13:33 UTC"
        for path in ("/console/keys", "/console", f"/console/keys/{town.rows(keys)[0]['id']}"):
            assert text not in (await look(browser, path)).text

    signed_in(town, work)


def test_the_terms_of_a_key_are_those_of_its_form(town: Town) -> None:
    async def work(browser: Browser) -> None:
        fields = {"scope account": None, "scope batches": None, "model fake": "on", "cap_usd": "2.5", "cap_period": "week"}
        reply = await fill(browser, KEY, {"name": "narrow", "expires": "2027-01-31T12:00:30", **fields})
        assert reply.status == 200 and reply.headers["cache-control"] == "no-store"
        (row,) = town.rows(keys)
        terms = town.database.transaction(lambda one: find(one, row["id"])).terms
        assert terms == Terms("narrow", ("inference",), ("fake",), 1_801_396_830, 2_500_000, "week", Limits())
        path = f"/console/keys/{row['id']}"
        await follow(browser, await fill(browser, path, {"name": "renamed"}))  # all else as it stands in the form
        assert town.database.transaction(lambda one: find(one, row["id"])).terms == replace(terms, name="renamed")
        away = {
            "model fake": None,
            "expires": "",
            "cap_usd": "",
            "scope account": "on",
            "scope batches": "on",
            "disabled": "on",
        }
        assert "new terms" in (await follow(browser, await fill(browser, path, away))).text
        found = town.database.transaction(lambda one: find(one, row["id"]))
        assert found.terms == Terms("renamed", ("inference", "account", "batches"), None, None, None, "week", Limits())
        assert found.disabled and (await look(browser, "/console/keys")).tables["The account's keys"][1][2] == "disabled"
        await fill(browser, path, {"disabled": None})
        assert not town.database.transaction(lambda one: find(one, row["id"])).disabled

    signed_in(town, work)


def test_a_deleted_key_is_refused_and_listed_no_more(town: Town) -> None:
    async def work(browser: Browser) -> None:
        text = await key_of(browser)
        path = f"/console/keys/{town.rows(keys)[0]['id']}"
        page = await follow(browser, await fill(browser, path, {}, f"{path}/delete"))
        assert "refused from now on" in page.text and "There is no key yet." in page.text
        assert (await browser.post("/v1/rerank", ASKED, x_api_key=text, cookie="")).status == 401
        assert (await browser.get(path, accept=BROWSER)).status == 404

    signed_in(town, work)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": " "}, "name: from 1 to 100 printable characters, not 0"),
        ({f"scope {scope}": None for scope in SCOPES}, "scopes: must hold from 1 to 3 items, not 0"),
        ({"cap_usd": "much"}, "cap_usd: an amount in US dollars"),
        ({"expires": "2020-01-01T00:00"}, "expires: must be from"),
        ({"expires": "soon"}, "expires: a moment as 2026-12-31T23:59 is expected, in UTC; received 'soon'"),
        ({"cap_period": "year"}, "cap_period: one of total, day, week, month"),
    ],
)
def test_a_key_that_cannot_be_is_refused_with_what_was_typed(town: Town, fields: dict[str, str | None], said: str) -> None:
    async def work(browser: Browser) -> None:
        reply = await fill(browser, KEY, {"name": "mine", "model fake": "on", **fields})
        page = Page(reply)
        assert reply.status == 400 and said in page.text
        kept = page.forms[KEY]
        assert kept["model fake"] == "on" and kept["name"] == fields.get("name", "mine")
        assert ("scope account" in kept) == ("scope account" not in fields)
        assert town.count(keys) == 0

    signed_in(town, work)


def test_fields_of_no_key_form_make_no_terms() -> None:
    bare = read_terms({"name": "x"})
    assert bare == {
        **dict.fromkeys(("models", "expires", "cap_usd", "cap_period")),
        "name": "x",
        "scopes": [],
        "disabled": False,
    }


def test_usage_is_drawn_listed_and_linked(town: Town) -> None:
    async def work(browser: Browser) -> None:
        first = await key_of(browser)
        second = await key_of(browser, name="<b>other</b>")
        for key, model in ((first, "fake"), (first, "fake"), (second, "fake")):
            assert (await browser.post("/v1/rerank", {**ASKED, "model": model}, x_api_key=key, cookie="")).status == 200
        page = await look(browser, "/console/usage")
        (spent,) = {row[4] for row in page.tables["Usage by model"][1:]}
        assert [row[:3] for row in page.tables["Usage by model"][1:]] == [["fake", "3", "6"]]
        assert sorted(row[:2] for row in page.tables["Usage by key"][1:]) == [["<b>other</b>", "1"], ["mine", "2"]]
        assert page.tables["Usage by day"][1:] == [["2026-11-26", *page.tables["Usage by model"][1][1:]]]
        (begins,) = re.findall(rf'x="([0-9.]+)"[^>]*>{re.escape(spent)}</text>', page.reply.body.decode())  # the model's bar
        assert float(begins) + 8.5 * len("$0.000026") <= plots.WIDTH
        assert f"2026-11-26: {spent}" in page.text and "2026-10-28: $0.00" in page.text
        assert page.reply.body.count(b"<rect") == 30 + 1 + 2
        csv = [link for link in page.links if "format=csv" in link]
        assert [(await browser.get(link, accept=BROWSER)).headers["content-type"] for link in csv] == [
            "text/csv; charset=utf-8"
        ] * 2
        assert "Nothing in this time." in (await look(browser, "/console/usage?from=2026-11-01&to=2026-11-02")).text
        assert "3 requests, 6 documents" in (await look(browser, "/console")).text
        wrong = await browser.get("/console/usage?from=soon", accept=BROWSER)
        assert wrong.status == 400 and "from: a day as 2026-11-26 is expected" in Page(wrong).text

    signed_in(town, work)


def test_requests_are_listed_by_pages(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigarank.service.web.console_pages._REQUESTS", "2")

    async def work(browser: Browser) -> None:
        key = await key_of(browser)
        for name in ("one", "two", "three"):
            await browser.post("/v1/rerank", ASKED, x_api_key=key, x_request_id=name, cookie="")
        page = await look(browser, "/console/requests?key_id=&model=fake")
        rows = page.tables["Requests, the newest first"][1:]
        (older,) = [link for link in page.links if "after=" in link]
        assert "model=fake&after=" in older and "key_id" not in older
        last = (await look(browser, older)).tables["Requests, the newest first"][1:]
        assert sorted(row[-1] for row in rows + last) == ["one", "three", "two"]
        assert rows[0][1:5] == ["fake", "/v1/rerank", "mine", "2"]
        none = (await look(browser, "/console/requests?from=2026-11-01&to=2026-11-02")).text
        assert "Nothing in this time." in none

    signed_in(town, work)


def test_credit_its_ledger_and_a_code(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigarank.service.web.console_pages._ENTRIES", 2)
    ((_, code),) = town.database.transaction(lambda one: make_codes(one, 3_000_000, 1, None, town.now))

    async def work(browser: Browser) -> None:
        await browser.post("/v1/rerank", ASKED, x_api_key=await key_of(browser), cookie="")
        assert "The code is redeemed" in (await follow(browser, await fill(browser, "/console/credit", {"code": code}))).text
        page = await look(browser, "/console/credit")
        left = page.tables["Credit that is left, in the order in which it is spent"][1:]
        assert sorted(row[0].partition(" code_")[0] for row in left) == ["a gift", "code"]
        assert "Granted $4.00" in page.text
        kinds = {row[1]: row[2] for row in page.tables["Every entry, the newest first"][1:]}
        assert set(kinds) == {"grant", "debit"} and kinds["debit"].startswith("-$0.00000")
        (older,) = [link for link in page.links if "after=" in link]
        ((_, kind, amount, *_),) = (await look(browser, older)).tables["Every entry, the newest first"][1:]
        assert (kind, amount) == ("grant", "$1.00")
        again = await fill(browser, "/console/credit", {"code": code})
        assert again.status == 400 and Page(again).forms["/console/credit"]["code"] == "" and code not in Page(again).text

    signed_in(town, work)


def test_a_password_and_an_address_are_changed_in_the_settings(town: Town) -> None:
    async def work(browser: Browser) -> None:
        wrong = await fill(browser, "/console/password", {"password": "not the one", "new_password": "another long one"})
        assert wrong.status == 400 and "password: is wrong" in Page(wrong).text
        changed = {"password": PASSWORD, "new_password": "another long one"}
        assert "another one now" in (await follow(browser, await fill(browser, "/console/password", changed))).text
        asked = {"email": "new@example.org", "password": "another long one"}
        assert "on its way to the new address" in (await follow(browser, await fill(browser, "/console/email", asked))).text
        token = town.token("new@example.org", "email")
        assert "its new address" in (await follow(browser, await fill(browser, "/account/email", {"token": token}))).text
        assert "Address new@example.org" in (await look(browser, "/console/settings")).text

    signed_in(town, work)


def test_who_has_no_password_is_asked_for_none(town: Town) -> None:
    async def work(browser: Browser) -> None:
        account_id = town.rows(accounts)[0]["id"]
        town.database.transaction(lambda one: repository.set_password(one, account_id, None, town.now))
        assert "Set a password" in (await look(browser, "/console/settings")).text
        assert set((await look(browser, "/console/password")).forms["/console/password"]) == {"csrf_token", "new_password"}
        assert (await fill(browser, "/console/password", {"new_password": "another long one"})).status == 303

    signed_in(town, work)


def test_sessions_are_listed_and_ended(town: Town) -> None:
    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        await other.sign_in()
        page = await look(browser, "/console/settings")
        rows = page.tables["Where you are signed in"][1:]
        assert sorted(row[-1] for row in rows) == ["End", "this one"] and {row[0] for row in rows} == {"Firefox"}
        (end,) = [action for action in page.forms if action.endswith("/end")]
        assert "The session has ended." in (await follow(browser, await fill(browser, "/console/settings", {}, end))).text
        assert (await other.get("/console", accept=BROWSER)).status == 303
        assert town.count(sessions) == 1
        assert (await send(browser, end, page.forms[end])).status == 404

    signed_in(town, work)


def test_bodies_are_kept_on_demand_shown_and_deleted(town: Town) -> None:
    async def work(browser: Browser) -> None:
        key = await key_of(browser)
        await browser.post("/v1/rerank", ASKED, x_api_key=key, cookie="")
        assert "There is none." in (await look(browser, "/console/logs")).text
        for days, said in (("31", "days: at most 30 on this server"), ("ten", "days: a number is expected; received 'ten'")):
            reply = await fill(browser, "/console/settings", {"days": days})
            assert reply.status == 400 and said in Page(reply).text
            assert Page(reply).forms["/console/settings"]["days"] == days
        assert "as you said" in (await follow(browser, await fill(browser, "/console/settings", {"days": "7"}))).text
        assert (await look(browser, "/console/settings")).forms["/console/settings"]["days"] == "7"
        await browser.post("/v1/rerank", ASKED, x_api_key=key, cookie="")
        (link,) = [one for one in (await look(browser, "/console/logs")).links if "/console/logs/" in one]
        shown = await look(browser, link)
        assert "the red planet is Mars" in shown.text and "relevance_score" in shown.text
        assert "are deleted" in (await follow(browser, await fill(browser, link, {}, f"{link}/delete"))).text
        assert (await browser.get(link, accept=BROWSER)).status == 404

    signed_in(town, work)


def test_days_are_a_number_or_none() -> None:
    assert [read_days({"days": text})["days"] for text in ("", " ", "0", "30")] == [None, None, 0, 30]
    with pytest.raises(InvalidInput, match="days: a number"):
        read_days({"days": "-1"})


def test_an_account_is_exported_and_deleted(town: Town) -> None:
    async def work(browser: Browser) -> None:
        assert "/v1/me/export" in (await look(browser, "/console/settings")).links
        assert (await browser.get("/v1/me/export", accept=BROWSER)).json["account"]["email"] == EMAIL
        assert (await fill(browser, "/console/delete", {"password": "not the one"})).status == 400
        reply = await fill(browser, "/console/delete", {"password": PASSWORD})
        assert (reply.headers["location"], browser.cookie) == ("/", "")
        assert town.count(sessions) == 0 and town.rows(accounts)[0]["state"] == "deleted"

    signed_in(town, work)


def test_columns_are_as_high_as_their_values() -> None:
    made = columns([("a", 2), ("b", 0), ("c", 4)])
    assert [one.height for one in made] == [HEIGHT / 2, 0.0, HEIGHT]
    assert [one.y for one in made] == [HEIGHT / 2, HEIGHT, 0.0]
    assert made[0].x + made[0].width < made[1].x < made[2].x
    assert {one.height for one in columns([("a", 0)])} == {0.0} and columns([]) == ()


@pytest.mark.parametrize(
    ("micros", "said"), [(1_250_000, "$1.25"), (12, "$0.000012"), (0, "$0.00"), (-1_500_000, "-$1.50"), (10**9, "$1000.00")]
)
def test_money_as_people_read_it(micros: int, said: str) -> None:
    assert dollars(micros) == said
