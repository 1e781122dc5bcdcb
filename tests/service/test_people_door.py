"""Where a request of a person may come from, with which cookie and which token; how often somebody may try; passwords."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asgi import getting
from gigarank.errors import InvalidInput, Overloaded
from gigarank.service import people_routes
from gigarank.service.accounts import cookies
from gigarank.service.accounts.addresses import read_address
from gigarank.service.accounts.common_passwords import COMMON
from gigarank.service.accounts.passwords import MOST_BYTES, Passwords, read_new_password
from gigarank.service.db import Database
from gigarank.service.people_endpoints import PEOPLE
from gigarank.service.settings import Settings
from gigarank.service.tables import sessions
from people import CHEAP, KEPT, PASSWORD, SITE, Browser, Town

SIGN_IN = {"email": "ada@example.org", "password": PASSWORD}


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite: nothing here is a matter of the database."""
    from gigarank.service.hosted import open_database  # noqa: PLC0415

    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    made = Town(database, url, tmp_path)
    made.person()
    yield made
    database.close()


def test_every_route_of_people_has_its_endpoint() -> None:
    assert {route.hosted for route in people_routes.ROUTES} == set(PEOPLE)
    assert all(route.visitor for route in people_routes.ROUTES)


def test_a_page_of_another_site_changes_nothing(town: Town) -> None:
    async def work(browser: Browser) -> None:
        await browser.sign_in()
        wrong: list[tuple[dict[str, str], str]] = [
            ({"origin": "https://evil.example.org"}, "origin"),
            ({"origin": "null"}, "origin"),
            ({"origin": SITE + ".evil.example.org"}, "origin"),
            ({"origin": "", "sec_fetch_site": "cross-site"}, "sec-fetch-site"),
            ({"sec_fetch_site": "same-site"}, "sec-fetch-site"),
            ({"sec_fetch_site": "none"}, "sec-fetch-site"),
            ({"x_csrf_token": ""}, "x-csrf-token"),
            ({"x_csrf_token": "0" * 64}, "x-csrf-token"),
            ({"x_csrf_token": "ä"}, "x-csrf-token"),
        ]
        for headers, param in wrong:
            reply = await browser.post("/v1/auth/sign-out", **headers)
            assert (reply.status, reply.error["param"]) == (403, param), headers
            reply = await browser.delete("/v1/auth/sessions/session_1", **headers)
            assert reply.status == 403
            if param != "x-csrf-token":
                assert (await browser.post("/v1/auth/sign-in", SIGN_IN, **headers)).status == 403
        assert town.count(sessions) == 1
        assert (await browser.post("/v1/auth/sign-out", origin="", sec_fetch_site="")).status == 200  # no browser

    town.do(work)


def test_the_token_of_another_session_is_none(town: Town) -> None:
    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        await browser.sign_in()
        await other.sign_in()
        assert (await browser.post("/v1/auth/sign-out", x_csrf_token=other.csrf)).status == 403
        assert (await browser.get("/v1/me", x_csrf_token="")).status == 200  # what changes nothing needs none

    town.do(work)


def test_over_https_the_cookie_is_bound_to_the_host(tmp_path: Path, town: Town) -> None:
    public = Town(town.database, town.settings.database_url, tmp_path, public_url="https://rank.example.org/")
    public.site = "https://rank.example.org"

    async def work(browser: Browser) -> None:
        reply = await browser.post("/v1/auth/sign-in", SIGN_IN)
        kept = reply.headers["set-cookie"]
        assert kept.startswith("__Host-gigarank=")
        assert kept.endswith("; Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax; Secure")
        assert (await browser.get("/v1/me")).status == 200
        plain = browser.cookie.replace("__Host-gigarank", "gigarank")
        assert (await browser.get("/v1/me", cookie=plain)).status == 401
        assert (await browser.get("/v1/me", cookie=f"a=b; {browser.cookie}; c")).status == 200
        ended = await browser.post("/v1/auth/sign-out")
        assert ended.headers["set-cookie"].startswith("__Host-gigarank=; Path=/; Max-Age=0;")
        assert (await browser.post("/v1/auth/sign-in", SIGN_IN, origin="http://rank.example.org")).status == 403

    public.do(work)
    assert "https://rank.example.org" in cookies.read_site("https://rank.example.org/")


def test_without_a_public_url_people_sign_in_on_the_machine_alone(town: Town) -> None:
    async def work(browser: Browser) -> None:
        for host in ("10.0.0.7:8000", "rank.example.org", "", "[::1", "localhost.evil.example.org:8000"):
            reply = await browser.post("/v1/auth/sign-in", SIGN_IN, host=host, origin="")
            assert (reply.status, reply.error["param"]) == (403, "host"), host
        for host in ("localhost:8000", "[::1]:8000", "127.0.0.1"):
            reply = await browser.post("/v1/auth/sign-in", SIGN_IN, host=host, origin=f"http://{host}")
            assert reply.status == 200
        assert reply.headers["set-cookie"].endswith("; HttpOnly; SameSite=Lax")
        for socket, status in (("10.0.0.7", 403), ("::ffff:10.0.0.7", 403), ("", 403), ("::1", 200), ("::ffff:127.0.0.1", 200)):
            browser.socket = socket
            reply = await browser.post("/v1/auth/sign-in", SIGN_IN)
            assert reply.status == status, socket
            assert status == 200 or reply.error["param"] == "host"

    town.do(work)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" 1.2.3.4:567 ", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:567", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:567", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", "None"),
        ("_hidden:80", "None"),
        ("", "None"),
    ],
)
def test_an_address_is_read_however_it_is_written(text: str, address: str) -> None:
    assert str(read_address(text)) == address


@pytest.mark.parametrize(
    "url",
    ["http://rank.example.org", "rank.example.org", "https://", "https://h/path", "https://h?x", "ftp://h", "http://[::1"],
)
def test_a_public_url_that_is_none_is_refused_when_the_server_starts(town: Town, tmp_path: Path, url: str) -> None:
    wrong = Town(town.database, town.settings.database_url, tmp_path, public_url=url)

    async def work(browser: Browser) -> None:
        raise AssertionError("it started")

    with pytest.raises(InvalidInput, match=r"^public_url: https://HOST"):
        wrong.do(work)


@pytest.mark.parametrize("url", ["", "https://h", "https://h:8443", "http://localhost:8000", "http://[::1]:1"])
def test_public_urls(url: str) -> None:
    assert cookies.read_site(url) == url


# How often.


def test_an_address_s_password_is_not_tried_often_from_wherever(town: Town) -> None:
    async def work(browser: Browser) -> None:
        for email in ("ada@example.org", "nobody@example.org"):
            for number in range(10):
                reply = await browser.post("/v1/auth/sign-in", {"email": email, "password": f"guess number {number}"})
                assert reply.status == 401
                browser.client = f"10.1.{number}.1"
            refused = await browser.post("/v1/auth/sign-in", {"email": email, "password": PASSWORD})
            assert (refused.status, refused.error["param"], refused.error["limit"]) == (429, "address", 10)
            assert 1 <= int(refused.headers["retry-after"]) <= 900

    town.do(work)


def test_a_client_does_not_try_many_addresses(town: Town) -> None:
    async def work(browser: Browser) -> None:
        browser.client = "2001:db8::1"
        statuses = [
            (await browser.post("/v1/auth/forgot", {"email": f"user{number}@example.org"})).status for number in range(20)
        ]
        browser.client = "192.0.2.1, 2001:db8::2"  # what the client says itself is not the last
        refused = await browser.post("/v1/auth/forgot", {"email": "user20@example.org"})
        assert statuses == [200] * 20 and (refused.status, refused.error["param"]) == (429, "client")
        browser.client = "2001:db8:0:1::1"
        assert (await browser.post("/v1/auth/forgot", {"email": "user20@example.org"})).status == 200

    town.do(work)


def test_without_a_header_of_one_s_own_proxy_the_connection_counts(town: Town, tmp_path: Path) -> None:
    plain = Town(town.database, town.settings.database_url, tmp_path, client_header="")

    async def work(browser: Browser) -> None:
        for number in range(20):
            browser.client = f"10.0.0.{number}"
            await browser.well("forgot", {"email": f"user{number}@example.org"})
        assert (await browser.post("/v1/auth/forgot", {"email": "ada@example.org"})).status == 429

    plain.do(work)


def test_ipv4_clients_of_a_server_on_ipv6_are_counted_one_by_one(town: Town, tmp_path: Path) -> None:
    plain = Town(town.database, town.settings.database_url, tmp_path, client_header="", public_url=SITE)

    async def work(browser: Browser) -> None:
        for number in range(22):
            browser.socket = f"::ffff:10.0.0.{number}"
            await browser.well("forgot", {"email": f"user{number}@example.org"})

    plain.do(work)


def test_what_the_header_says_counts_as_an_address_or_not_at_all(town: Town) -> None:
    async def work(browser: Browser) -> None:
        for client in ("made up {}", "10.0.0.1:{}"):
            for number in range(20):
                browser.client = client.format(number)
                await browser.well("forgot", {"email": f"user{number}@example.org"})
            browser.client = client.format(20)
            refused = await browser.post("/v1/auth/forgot", {"email": "ada@example.org"})
            assert (refused.status, refused.error["param"]) == (429, "client")

    town.do(work)


# Passwords.


def test_a_password_fits_its_hash_however_it_was_typed() -> None:
    async def work() -> None:
        passwords = Passwords()
        composed, apart = "a long caf\u00e9", "a long cafe\u0301"
        kept = await passwords.hashed(read_new_password(composed, "ada@example.org"))
        assert await passwords.fits(read_new_password(apart, "ada@example.org"), kept)
        assert not await passwords.fits("a long cafe", kept) and not await passwords.fits(composed, None)
        assert await passwords.hashed(composed) != kept
        passwords.close()

    asyncio.run(work())


def test_so_many_wait_and_no_more() -> None:
    async def work() -> list[Any]:
        passwords = Passwords()
        try:
            return await asyncio.gather(*(passwords.fits(PASSWORD, KEPT) for _ in range(70)), return_exceptions=True)
        finally:
            passwords.close()

    found = asyncio.run(work())
    assert found.count(True) == 64 and sum(isinstance(one, Overloaded) for one in found) == 6


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "a text is expected"),
        ("", "a text is expected"),
        ("ninechars", "at least 10 characters, not 9"),
        ("x" * 129, "at most 128 bytes, not 129"),
        ("ä" * 65, "at most 128 bytes, not 130"),
        ("Password123", "is among the first that are guessed"),
        ("ababababab", "is among the first that are guessed"),
        ("ADA.LOVELACE", "is among the first that are guessed"),
        ("ada.lovelace@example.org", "is among the first that are guessed"),
    ],
)
def test_passwords_that_nobody_may_choose(given: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"^password: {said}") as raised:
        read_new_password(given, "ada.lovelace@example.org")
    assert not given or given not in raised.value.message


def test_what_may_be_chosen_and_what_is_on_the_list() -> None:
    assert read_new_password("ä" * 2 + "bcdefghi", "a@b") and len(("x1y2" * 32).encode()) == MOST_BYTES
    assert read_new_password("x1y2" * 32, "a@b") == "x1y2" * 32
    assert len(COMMON) > 150 and all(len(word) >= 10 and word == word.casefold() for word in COMMON)
    assert CHEAP.verify(KEPT, PASSWORD)


def test_who_signs_in_as_another_leaves_no_session_behind(town: Town) -> None:
    town.person("bob@example.org")

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        ada = browser.cookie
        assert (await browser.sign_in("bob@example.org"))["email"] == "bob@example.org"
        assert (await browser.get("/v1/me", cookie=ada)).status == 401
        assert (await browser.well("show_me"))["email"] == "bob@example.org"
        failed = await browser.post("/v1/auth/sign-in", {**SIGN_IN, "password": "a wrong one"})
        assert failed.status == 401 and "set-cookie" not in failed.headers
        assert (await browser.well("show_me"))["email"] == "bob@example.org"  # a try that fails ends nothing

    town.do(work)
    assert town.count(sessions) == 1


def test_an_address_is_written_in_any_case_and_with_blanks_around(town: Town) -> None:
    async def work(browser: Browser) -> None:
        signed_in = await browser.sign_in(" Ada@EXAMPLE.org\n")
        assert signed_in["email"] == "ada@example.org"
        me = await browser.well("show_me")
        assert (me["role"], me["state"], me["limits"]["requests_per_minute"]) == ("user", "active", None)

    town.do(work)


def test_a_head_is_answered_as_a_get_without_its_body(town: Town) -> None:
    async def work(browser: Browser) -> None:
        await browser.sign_in()
        reply = await browser.send(replace(getting("/v1/me"), method="HEAD"))
        assert (reply.status, reply.body) == (200, b"")

    town.do(work)
