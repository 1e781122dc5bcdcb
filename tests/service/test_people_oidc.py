"""Signing in with an OpenID Connect provider (oidc-provider-mock in a process of its own, and one that says as little as the
standard allows): the way there and back, and what is refused."""

import asyncio
import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import httpx2
import pytest
from joserfc import jwk, jwt

from accounts import make_account
from asgi import Reply
from gigarank.errors import InvalidInput, NotSignedIn, ProviderUnavailable
from gigarank.service.accounts import identities, oidc
from gigarank.service.accounts.identities import Begun
from gigarank.service.accounts.oidc import Claims, Client, Provider, Way, read_providers
from gigarank.service.accounts.sessions import Device
from gigarank.service.accounts.signing import Entry
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.people_tables import identities as table
from gigarank.service.people_tables import sign_ins
from gigarank.service.tables import accounts
from gigarank.service.topup_tables import free_credits
from mail_server import free_port
from people import PASSWORD, Browser, Town

USERS = [
    {"sub": "ada", "email": "Ada@example.org", "email_verified": True},
    {"sub": "eve", "email": "ada@example.org", "email_verified": False},
    {"sub": "nobody"},
]
ENTRY = Entry(Device("a", "b"))


@contextmanager
def providing(port: int) -> Iterator[str]:
    """Its issuer."""
    words = [f"--user-claims={json.dumps(user)}" for user in USERS]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    issuer = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx2.get(f"{issuer}/jwks").raise_for_status()
                break
            except httpx2.HTTPError:
                assert process.poll() is None
                time.sleep(0.05)
        yield issuer
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with providing(free_port()) as found:
        yield found


def settled(database: Database, database_url: str, tmp_path: Path, issuer: str) -> Town:
    town = Town(database, database_url, tmp_path, oidc_providers=(f"mock {issuer} client-1 secret-1",))
    town.now = int(time.time())  # the provider's clock is the real one
    return town


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path, issuer: str) -> Town:
    return settled(database, database_url, tmp_path, issuer)


async def there(browser: Browser, subject: str, onward: str = "", **changes: str) -> str:
    """To the provider, where somebody agrees; the path and query that the browser is sent back to. `changes`: of what goes
    there."""
    left = await browser.get(f"/v1/auth/oidc/mock{onward}")
    assert left.status == 302 and left.headers["location"] == left.json["url"], left.body
    address = urlsplit(left.json["url"])
    query = {name: values[0] for name, values in parse_qs(address.query).items()} | changes
    assert query["code_challenge_method"] == "S256" and len(query["code_challenge"]) == 43
    agreed = await asyncio.to_thread(
        httpx2.post, f"{address.scheme}://{address.netloc}{address.path}?{urlencode(query)}", data={"sub": subject}
    )
    back = urlsplit(agreed.headers["location"])
    assert f"{back.scheme}://{back.netloc}" == "http://127.0.0.1:8000"
    return f"{back.path}?{back.query}"


async def signed_in(browser: Browser, subject: str, **changes: str) -> Reply:
    return await browser.get(await there(browser, subject, **changes))


def test_somebody_signs_in_and_has_one_account_and_one_credit(town: Town) -> None:
    async def work(browser: Browser) -> None:
        listed = await browser.well("list_providers")
        assert [one["name"] for one in listed["data"]] == ["mock"] and "secret-1" not in json.dumps(listed)
        first = await signed_in(browser, "ada")
        assert (first.status, first.json["email"]) == (200, "ada@example.org"), first.body
        me = await browser.well("show_me")
        assert (me["balance_micros"], me["has_password"]) == (25_000_000, False)
        elsewhere = (await browser.well("export_account"))["identities"]
        assert [(one["issuer"], one["subject"]) for one in elsewhere] == [(town.settings.oidc_providers[0].split()[1], "ada")]
        again = await signed_in(town.browser(browser.app), "ada")
        assert again.json["account_id"] == first.json["account_id"]

    town.do(work)
    assert [town.count(each) for each in (accounts, table, free_credits, sign_ins)] == [1, 1, 1, 0]


def test_a_person_whose_address_both_sides_have_verified_is_the_same(town: Town) -> None:
    account_id = town.person("ada@example.org")

    async def work(browser: Browser) -> None:
        assert (await signed_in(browser, "ada")).json["account_id"] == account_id
        await browser.sign_in(password=PASSWORD)
        assert (await browser.well("show_me"))["has_password"] is True

    town.do(work)


def test_an_account_that_nobody_has_verified_is_not_joined(town: Town) -> None:
    make_account(town.database, open_secrets(town.settings), email="ada@example.org")

    async def work(browser: Browser) -> None:
        refused = await signed_in(browser, "ada")
        assert (refused.status, refused.error["param"]) == (403, "email")

    town.do(work)
    assert town.count(table) == 0


@pytest.mark.parametrize("subject", ["eve", "nobody"])
def test_an_address_that_the_provider_does_not_vouch_for_is_none(town: Town, subject: str) -> None:
    town.person("ada@example.org")

    async def work(browser: Browser) -> None:
        refused = await signed_in(browser, subject)
        assert (refused.status, refused.error["param"]) == (401, "email_verified")
        assert "set-cookie" not in refused.headers

    town.do(work)
    assert (town.count(table), town.count(accounts)) == (0, 1)


def test_a_wrong_nonce_a_wrong_state_and_a_replayed_code_let_nobody_in(town: Town) -> None:
    async def work(browser: Browser) -> None:
        refused = await signed_in(browser, "ada", nonce="another")
        assert (refused.status, refused.error["message"][-5:]) == (401, "nonce")
        path = await there(browser, "ada")
        stranger = await town.browser(browser.app).get(path)
        assert (stranger.status, stranger.error["param"]) == (401, "state")
        assert (await browser.get(path.replace("state=", "state=x"))).error["param"] == "state"
        cookie = browser.cookie
        assert (await browser.get(path)).status == 200
        replayed = await browser.get(path, cookie=cookie)
        assert (replayed.status, replayed.error["param"]) == (401, "state")
        code = parse_qs(urlsplit(path).query)["code"][0]
        fresh = parse_qs(urlsplit(await there(browser, "ada")).query)["state"][0]
        old = await browser.get(f"/v1/auth/oidc/mock/callback?code={code}&state={fresh}")
        assert (old.status, old.error["param"]) == (401, "code")

    town.do(work)


def test_a_sign_in_that_takes_too_long_or_is_denied_has_ended(town: Town) -> None:
    async def work(browser: Browser) -> None:
        path = await there(browser, "ada")
        town.now += identities.LIFE_S
        assert (await browser.get(path)).error["param"] == "state"
        state = parse_qs(urlsplit(await there(browser, "ada")).query)["state"][0]
        denied = await browser.get(f"/v1/auth/oidc/mock/callback?error=access_denied&state={state}")
        assert (denied.status, denied.error["message"]) == (401, "the provider says: access_denied")
        await there(browser, "ada")

    town.do(work)
    town.database.transaction(lambda one: identities.forget(one, town.now + identities.LIFE_S))
    assert town.count(sign_ins) == 0


def test_onward_goes_to_this_site_alone(town: Town) -> None:
    async def work(browser: Browser) -> None:
        back = await browser.get(await there(browser, "ada", "?next=/account%3Fa=b"))
        assert (back.status, back.headers["location"]) == (303, "/account?a=b") and browser.cookie.startswith("gigarank=")
        for path in ("https://evil.example.org", "//evil.example.org", "/%5Cevil.example.org", "account", "/a%0d%0ab"):
            refused = await browser.get(f"/v1/auth/oidc/mock?next={path}")
            assert (refused.status, refused.error["param"]) == (400, "next"), path
        assert (await browser.get("/v1/auth/oidc/other")).error["param"] == "provider"

    town.do(work)


def test_a_provider_that_is_away_is_a_503_and_new_keys_are_found(database: Database, database_url: str, tmp_path: Path) -> None:
    port = free_port()
    town = settled(database, database_url, tmp_path, f"http://127.0.0.1:{port}")

    async def work(browser: Browser) -> None:
        away = await browser.get("/v1/auth/oidc/mock")
        assert (away.status, away.error["code"]) == (503, "provider_unavailable") and "retry-after" in away.headers
        for _ in range(2):  # each process has a key of its own
            with providing(port):
                assert (await signed_in(browser, "ada")).status == 200
        with providing(port):
            path = await there(browser, "ada")
        assert (await browser.get(path)).status == 503

    town.do(work)


# What a provider might send.

KEY = jwk.RSAKey.generate_key(2048, parameters={"kid": "k"})
MINE = Provider("mock", "https://i", "client-1", "s")
WAY = Way("state", "nonce-1", "verifier", "https://r")
NOW = 2_000_000_000
GOOD = {"iss": "https://i", "aud": "client-1", "nonce": "nonce-1", "sub": "ada", "iat": NOW, "exp": NOW + 60}


class Told(Client):
    """A client that fetches what the test says."""

    def answering(self, token: str, **metadata: Any) -> "Told":
        urls = {"authorization_endpoint": "https://i/a", "token_endpoint": "https://i/t", "jwks_uri": "https://i/k"}
        self.pages: dict[str, Any] = {"configuration": {"issuer": "https://i", **urls, **metadata}, "t": {"id_token": token}}
        self.pages["k"] = {"keys": [KEY.as_dict(private=False)]}
        return self

    async def _fetched(
        self, url: str, provider: Provider, form: dict[str, str] | None = None, auth: httpx2.Auth | None = None
    ) -> Any:
        name = url.rpartition("/")[2].removeprefix("openid-")
        self.asked = [*getattr(self, "asked", ()), name]
        return self.pages[name]


def told(token: str, **metadata: Any) -> Claims:
    client = Told({"mock": MINE}).answering(token, **metadata)
    return asyncio.run(client.claims(MINE, WAY, "code", NOW))


def signed(key: Any = KEY, algorithm: str = "RS256", **changes: Any) -> str:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": "k"}, claims, key, algorithms=[algorithm])


def test_good_claims_are_taken() -> None:
    assert told(signed()) == Claims("https://i", "ada", "")
    assert told(signed(aud=["client-1", "other"], azp="client-1", email=" A@B.org ", email_verified=True)).email == "a@b.org"
    assert told(signed(email="a@b.org", email_verified="true")).email == ""
    assert told(signed(exp=NOW - 59)).subject == "ada"  # two clocks differ


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"iss": "https://other"}, "iss"),
        ({"aud": "client-2"}, "aud"),
        ({"aud": ["client-1", "other"]}, "azp"),
        ({"nonce": "nonce-2"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"exp": NOW - 61}, "exp"),
        ({"exp": None}, "exp"),
        ({"iat": NOW + 3_600}, "iat"),
        ({"sub": None}, "sub"),
    ],
)
def test_claims_that_are_not_as_they_should_be_are_refused(changes: Any, claim: str) -> None:
    with pytest.raises(NotSignedIn, match="what the provider sent is refused: a claim is not as it should be"):
        told(signed(**changes))


def test_a_token_that_the_provider_did_not_sign_is_refused() -> None:
    other = jwk.RSAKey.generate_key(2048, parameters={"kid": "k"})
    shared = jwk.OctKey.import_key("client-secret-of-the-client-long-enough", {"kid": "k"})
    head, body, _ = signed().split(".")
    for token in (signed(other), signed(shared, "HS256"), f"{head}.{body}.", f"{head}.{body}.AAAA", "x", "a.b.c"):
        with pytest.raises(NotSignedIn, match="its signature is not the provider's"):
            told(token)


def test_new_keys_are_looked_for_once_and_kept() -> None:
    client = Told({"mock": MINE}).answering(signed())

    def claims() -> Claims:
        return asyncio.run(client.claims(MINE, WAY, "code", NOW))

    claims()
    claims()
    assert client.asked == ["configuration", "t", "k", "t"]
    other = jwk.RSAKey.generate_key(2048, parameters={"kid": "k2"})
    client.asked, client.pages["k"] = [], {"keys": [other.as_dict(private=False)]}
    client.pages["t"] = {"id_token": jwt.encode({"alg": "RS256", "kid": "k2"}, dict(GOOD), other)}
    assert claims().subject == "ada" and client.asked == ["t", "k"]
    client.asked, client.pages["t"] = [], {"id_token": signed()}
    with pytest.raises(NotSignedIn, match="its signature"):
        claims()
    assert client.asked == ["t", "k"]
    client.pages["t"] = {"access_token": "x"}
    with pytest.raises(NotSignedIn, match="it has no id_token"):
        claims()
    client._known.clear()
    client.pages["k"] = {"keys": 7}
    client.pages["t"] = {"id_token": signed()}
    with pytest.raises(ProviderUnavailable, match="its keys are none"):
        claims()


def test_a_discovery_document_of_another_is_refused() -> None:
    for metadata in ({"issuer": "https://other"}, {"token_endpoint": None}, {"jwks_uri": 7}):
        with pytest.raises(ProviderUnavailable, match="another's, or none"):
            told(signed(), **metadata)


@pytest.mark.parametrize("text", ["a https://i id", "A https://i id s", "a http://i id s", "a https://i#x id s", "a i id s"])
def test_a_provider_s_line_that_is_none_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(InvalidInput, match="NAME ISSUER CLIENT_ID CLIENT_SECRET") as raised:
        read_providers(("b https://i id s", text.replace(" s", " top-secret")))
    assert "top-secret" not in raised.value.message and raised.value.param == "oidc_providers[1]"
    with pytest.raises(InvalidInput):
        read_providers(("a https://i id s", "a https://j id s"))
    assert read_providers(("a https://i/realms/x id s",))["a"].issuer == "https://i/realms/x"


def test_one_of_several_that_come_back_at_once_is_let_in(database: Database) -> None:
    database.transaction(lambda one: identities.begin_way(one, Begun("mock", WAY), NOW))
    database.transaction(lambda one: identities.end_way(one, "mock", "state", "https://r", NOW))
    with pytest.raises(NotSignedIn):
        database.transaction(lambda one: identities.end_way(one, "mock", "state", "https://r", NOW))
    assert oidc._TIMEOUT_S <= 10


def test_of_several_first_sign_ins_at_once_there_is_one_account(town: Town) -> None:
    claims, found = Claims("https://i", "ada", "ada@example.org"), list[Any]()

    def one() -> None:
        try:
            found.append(town.database.call(lambda connection: identities.sign_in(connection, claims, ENTRY, NOW))[0].id)
        except InvalidInput as error:
            found.append(error.param)

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (account,) = town.rows(accounts)
    assert set(found) <= {account["id"], "email"} and account["id"] in found and len(found) == 12
    assert town.count(table) == 1


def test_another_provider_s_subject_is_another_person(town: Town) -> None:
    def sign_in(issuer: str, email: str) -> str:
        claims = Claims(issuer, "ada", email)
        return town.database.transaction(lambda one: identities.sign_in(one, claims, ENTRY, NOW))[0].id

    first, second = sign_in("https://i", "ada@example.org"), sign_in("https://j", "ada@example.net")
    assert first != second and sign_in("https://i", "") == first
    assert sign_in("https://k", "ada@example.org") == first  # both sides have verified it
    assert town.count(table) == 3


def test_an_account_that_is_deleted_is_known_to_no_provider(town: Town) -> None:
    async def work(browser: Browser) -> None:
        first = (await signed_in(browser, "ada")).json["account_id"]
        town.now += 601
        assert (await browser.post("/v1/me/delete", {})).error["param"] == "password"
        await signed_in(browser, "ada")
        await browser.well("delete_me", {})
        assert town.count(table) == 0
        again = (await signed_in(browser, "ada")).json["account_id"]
        assert again != first and (await browser.well("show_me"))["balance_micros"] == 0

    town.do(work)
    assert town.count(free_credits) == 1


class Sparing(BaseHTTPRequestHandler):
    """A provider that knows its clients by what they post, and puts nothing into the id_token that it need not."""

    secret, user, asked = "a:b+c%d e", {"sub": "ada", "email": "Ada@example.org", "email_verified": True}, list[str]()
    ways: tuple[str, ...] = ("client_secret_post", "private_key_jwt")

    def do_GET(self) -> None:
        base = f"http://{self.headers['host']}"
        urls = {f"{name}_endpoint": f"{base}/{name}" for name in ("authorization", "token", "userinfo")}
        about = {"issuer": base, "jwks_uri": f"{base}/jwks", "token_endpoint_auth_methods_supported": self.ways, **urls}
        pages = {"/.well-known/openid-configuration": about, "/jwks": {"keys": [KEY.as_dict(private=False)]}}
        if self.path == "/userinfo":
            self.asked.append(self.headers["authorization"])
            pages["/userinfo"] = self.user
        self._tell(200, pages[self.path])

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        basic = base64.b64encode(f"client-1:{quote_plus(self.secret)}".encode()).decode()
        known = form.get("client_secret") == [self.secret] and "authorization" not in self.headers
        if self.ways == ("client_secret_basic",):
            known = self.headers["authorization"] == f"Basic {basic}" and "client_secret" not in form
        if not known:
            return self._tell(401, {"error": "invalid_client"})
        return self._tell(200, {"id_token": signed(iss=f"http://{self.headers['host']}"), "access_token": "token-1"})

    def _tell(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def sparing(**changes: Any) -> Iterator[Provider]:
    handler = type("Handler", (Sparing,), {"asked": [], **changes})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Provider("sparing", f"http://127.0.0.1:{server.server_address[1]}", "client-1", Sparing.secret)
        server.shutdown()


@pytest.mark.parametrize("ways", [("client_secret_post", "private_key_jwt"), ("client_secret_basic",)])
def test_a_provider_that_says_as_little_as_it_may_vouches_for_an_address(ways: tuple[str, ...]) -> None:
    with sparing(ways=ways) as provider:
        found = asyncio.run(Client({"sparing": provider}).claims(provider, WAY, "code", NOW))
    assert found == Claims(provider.issuer, "ada", "ada@example.org")


@pytest.mark.parametrize("user", [{"sub": "ada", "email": "ada@example.org"}, {"sub": "ada", "email_verified": True}])
def test_an_address_that_userinfo_does_not_vouch_for_is_none(user: Any) -> None:
    with sparing(user=user) as provider:
        assert asyncio.run(Client({"sparing": provider}).claims(provider, WAY, "code", NOW)).email == ""


def test_the_userinfo_of_somebody_else_is_refused() -> None:
    with sparing(user={**Sparing.user, "sub": "eve"}) as provider, pytest.raises(NotSignedIn, match="UserInfo is another's"):
        asyncio.run(Client({"sparing": provider}).claims(provider, WAY, "code", NOW))


def test_answers_that_are_none_are_told_apart(issuer: str) -> None:
    async def fetched(path: str, form: dict[str, str] | None = None) -> Any:
        return await Client({})._fetched(f"{issuer}{path}", MINE, form)

    for path in ("/nothing", "/"):  # no JSON, whatever the status
        with pytest.raises(ProviderUnavailable, match="mock cannot be asked"):
            asyncio.run(fetched(path))
    with pytest.raises(NotSignedIn, match="it does not know the code"):
        asyncio.run(fetched("/oauth2/token", {"grant_type": "authorization_code", "code": "x", "redirect_uri": "https://r"}))
    assert asyncio.run(fetched("/jwks"))["keys"]
    with pytest.raises(ProviderUnavailable):
        asyncio.run(Client({})._fetched("http://[", MINE))
