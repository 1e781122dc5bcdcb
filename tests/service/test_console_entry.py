"""Signing up, in and out by forms, without a script: the same checks, limits and messages as the API's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi import ask, getting
from forms import BROWSER, Page, fill, follow, look, send
from gigarank.service.accounts import service
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_database
from gigarank.service.settings import Settings
from gigarank.service.tables import sessions
from gigarank.service.web import console_routes
from gigarank.service.web.people_pages import PEOPLE_PAGES
from gigarank.service.web.routes import PAGES
from people import PASSWORD, Browser, Town

EMAIL = "ada@example.org"
ME = {"email": EMAIL, "password": PASSWORD}


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite: nothing here is a matter of the database."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    yield Town(database, url, tmp_path, concurrent_requests=7)
    database.close()


def test_every_page_of_people_has_its_endpoint() -> None:
    assert {route.hosted for route in PAGES if route.visitor} == set(PEOPLE_PAGES)


def test_from_a_sign_up_to_the_console(town: Town) -> None:
    async def work(browser: Browser) -> None:
        sent = await fill(browser, "/sign-up", ME)
        assert sent.headers["location"] == "/account/verify?done=letter"
        assert "A letter is on its way" in (await follow(browser, sent)).text
        token = town.token(EMAIL, "verify")
        opened = await fill(browser, "/account/verify", {"token": token, "password": PASSWORD})
        console = await follow(browser, opened)
        assert "Welcome." in console.text and "Make your first key." in console.text
        assert "$25.00 available" in console.text and EMAIL in console.text
        assert "Requests at once 7" in console.text and "Requests a minute not limited" in console.text
        assert "/console/keys/new" in console.links
        out = await fill(browser, "/console", {}, "/console/sign-out")
        assert (out.headers["location"], browser.cookie) == ("/", "")
        assert town.count(sessions) == 0

    town.do(work)


def test_where_no_mail_is_sent_the_page_says_who_has_the_link(tmp_path: Path, town: Town) -> None:
    quiet = Town(town.database, town.settings.database_url, tmp_path, smtp_url="", mail_from="")

    async def work(browser: Browser) -> None:
        for path in ("/sign-up", "/forgot"):
            page = await follow(browser, await fill(browser, path, ME if path == "/sign-up" else {"email": EMAIL}))
            assert "This server sends no mail" in page.text

    quiet.do(work)


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/sign-up", {"email": "nobody", "password": PASSWORD}, "email: an address as name@host is expected"),
        ("/sign-up", {"email": EMAIL, "password": "short"}, "password: at least 10 characters, not 5"),
        ("/sign-in", {"email": EMAIL, "password": "not the one"}, "the address or the password is wrong"),
        ("/account/verify", {"token": "none", "password": PASSWORD}, "token: the link was used, or is over"),
        ("/account/reset", {"token": "", "password": PASSWORD}, "token: must not be empty"),
        ("/account/email", {"token": "none"}, "token: the link was used, or is over"),
    ],
)
def test_what_is_refused_is_said_on_the_form_s_page(town: Town, path: str, fields: dict[str, str], said: str) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        reply = await fill(browser, path, {**fields})
        assert reply.status == (401 if path == "/sign-in" else 400)
        page = Page(reply)
        assert said in page.text and 'role="alert"' in reply.body.decode()
        assert page.forms[path].get("email", "") == fields.get("email", "")
        assert page.forms[path].get("password", "") == page.forms[path].get("token", "") == ""  # no secret is sent back
        assert "set-cookie" not in reply.headers

    town.do(work)


def test_a_field_that_is_wrong_is_marked(town: Town) -> None:
    async def work(browser: Browser) -> None:
        text = (await fill(browser, "/sign-up", {"email": "x", "password": PASSWORD})).body.decode()
        assert re.findall(r'name="(\w+)"[^>]*aria-invalid="true"', text) == ["email"]

    town.do(work)


def test_signing_in_leads_back_and_never_elsewhere(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        led = await browser.get("/console", accept=BROWSER)
        assert (led.status, led.headers["location"]) == (303, "/sign-in?next=/console")
        for onward, goes in (("/v1/me/export", "/v1/me/export"), ("//evil.example.org", "/console"), ("", "/console")):
            page = await look(browser, f"/sign-in?next={onward}")
            assert page.forms["/sign-in"]["next"] == goes
            assert (await fill(browser, f"/sign-in?next={onward}", ME)).headers["location"] == goes
        assert (await send(browser, "/sign-in", {**ME, "next": "https://evil.example.org"})).headers["location"] == "/console"
        wrong = await send(browser, "/sign-in", {**ME, "password": "not the one", "next": "/v1/me"})
        assert Page(wrong).forms["/sign-in"]["next"] == "/v1/me"  # kept for the next try

    town.do(work)


def test_a_new_password_by_a_letter_s_link(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        assert "A letter is on its way" in (await follow(browser, await fill(browser, "/forgot", {"email": EMAIL}))).text
        token = town.token(EMAIL, "reset")
        reply = await fill(browser, "/account/reset", {"token": token, "password": "another long one"})
        assert reply.headers["location"] == "/sign-in?done=password"
        assert "Your password is another one now." in (await follow(browser, reply)).text
        assert (await fill(browser, "/sign-in", ME)).status == 401
        assert (await fill(browser, "/sign-in", {**ME, "password": "another long one"})).status == 303

    town.do(work)


def test_tries_are_counted_as_those_of_programs(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        for _ in range(5):
            assert (await fill(browser, "/sign-in", {**ME, "password": "not the one"})).status == 401
            assert (await browser.post("/v1/auth/sign-in", {**ME, "password": "not the one"})).status == 401
        reply = await fill(browser, "/sign-in", ME)
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) > 0
        assert "too many attempts: 10 in 15 minutes" in Page(reply).text and "Try again in" in Page(reply).text

    town.do(work)


def test_who_is_suspended_is_told_so(town: Town) -> None:
    account_id = town.person()
    town.database.transaction(lambda one: service.set_state(one, account_id, "suspended"))

    async def work(browser: Browser) -> None:
        reply = await fill(browser, "/sign-in", ME)
        assert reply.status == 403 and "the account is suspended" in Page(reply).text

    town.do(work)


def test_a_page_of_another_site_signs_nobody_in(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        for headers in ({"origin": "https://evil.example.org"}, {"sec_fetch_site": "cross-site"}):
            reply = await send(browser, "/sign-in", ME, **headers)
            assert reply.status == 403 and "a page of another site asks" in Page(reply).text
        assert town.count(sessions) == 0

    town.do(work)


def test_providers_are_offered_where_they_may_vouch(tmp_path: Path, town: Town) -> None:
    trusted = ("acme https://id.example.org client secret",)
    vouched = Town(town.database, town.settings.database_url, tmp_path, oidc_providers=trusted)

    async def work(browser: Browser) -> None:
        assert "/v1/auth/oidc/acme?next=/console/usage" in (await look(browser, "/sign-in?next=/console/usage")).links
        assert "/v1/auth/oidc/acme?next=/console" in (await look(browser, "/sign-up")).links
        assert not [link for link in (await look(browser, "/forgot")).links if "oidc" in link]

    vouched.do(work)


def test_what_a_link_finds_wrong_is_a_page_for_a_browser(town: Town) -> None:
    """The way back from a provider, and the export, are no pages, and people see their errors all the same."""

    async def work(browser: Browser) -> None:
        reply = await browser.get("/v1/auth/oidc/acme/callback", accept=BROWSER)
        assert reply.status == 400 and "provider: one of none" in Page(reply).text
        assert (await browser.get("/v1/auth/oidc/acme/callback")).error["code"] == "invalid_value"
        assert (await browser.get("/v1/me/export", accept=BROWSER)).headers["location"] == "/sign-in?next=/v1/me/export"
        refused = await browser.post("/v1/auth/sign-in", {}, accept=BROWSER)
        assert refused.error["param"] == "email"  # who posts JSON is a program

    town.do(work)


def test_signing_out_everywhere_ends_all_sessions(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        await fill(town.browser(browser.app), "/sign-in", ME)
        await fill(browser, "/sign-in", ME)
        assert town.count(sessions) == 2
        session = browser.cookie.partition("=")[2]
        for wrong in ("", csrf_token("another")):
            reply = await send(browser, "/console/sign-out-everywhere", {"csrf_token": wrong})
            assert reply.status == 403 and town.count(sessions) == 2
        reply = await send(browser, "/console/sign-out-everywhere", {"csrf_token": csrf_token(session)})
        assert (reply.headers["location"], town.count(sessions)) == ("/sign-in", 0)

    town.do(work)


def test_without_accounts_there_is_no_page_of_people(tmp_path: Path) -> None:
    app = create_app(Settings(models=("fake",), state_dir=str(tmp_path)), FakeBackend())
    for path in (console_routes.CONSOLE, *console_routes.ENTRY):
        assert ask(app, getting(path, accept=BROWSER)).status == 404
