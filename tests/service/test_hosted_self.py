"""What a key, an account and its credit say of themselves, and the tokens that a key makes."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import update

from accounts import NOW, Made, make_account
from asgi import Reply, Visit, ask_in_turn, getting, posting, run, visit
from gigarank.errors import AccessDenied, ModelNotAllowed, Unauthorized
from gigarank.service import hosted_routes
from gigarank.service.app import create_app
from gigarank.service.call import Route
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.hosted_endpoints import ENDPOINTS
from gigarank.service.keys import tokens
from gigarank.service.keys.service import authenticate, mint, rotate, set_disabled
from gigarank.service.metering import repeats
from gigarank.service.settings import Settings
from gigarank.service.tables import keys
from gigarank.service.tables import repeats as kept
from gigarank.service.tenant import Limits, Tenant

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}
COST = 2


class Room:
    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database, self.secrets = settings, database, open_secrets(settings)
        self.made = self.another("a@example.org")

    def another(self, email: str, micros: int = 1_000, **terms: Any) -> Made:
        return make_account(self.database, self.secrets, micros, email, **terms)

    def ask(self, *requests: Visit) -> list[Reply]:
        return ask_in_turn(create_app(self.settings, FakeBackend()), *requests)

    def get(self, path: str, key: str = "") -> Any:
        (reply,) = self.ask(getting(path, x_api_key=key or self.made.key))
        assert reply.status == 200, reply.body
        (route,) = [route for route in hosted_routes.ROUTES if route.path == path and route.method == "GET"]
        jsonschema.validate(reply.json, route.response)
        return reply.json

    def mint(self, key: str = "", **body: Any) -> Reply:
        return self.ask(posting(body, "/v1/key/token", x_api_key=key or self.made.key))[0]


@pytest.fixture
def room(database: Database, database_url: str, tmp_path: Path) -> Iterator[Room]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    yield Room(settings, database)
    assert database.transaction(audit).problems == ()


def test_every_route_has_its_endpoint() -> None:
    assert {route.hosted for route in hosted_routes.ROUTES} == set(ENDPOINTS)


def test_a_key_says_its_terms_and_what_it_spent(room: Room) -> None:
    made = room.another("b@example.org", cap_micros=10, cap_period="day", limits=Limits(requests_per_minute=7))
    room.ask(posting(BODY, x_api_key=made.key))
    told = room.get("/v1/key", made.key)
    assert (told["key_id"], told["account_id"], told["spent_micros"]) == (made.key_id, made.account_id, COST)
    assert told["used"] == {"day_micros": COST, "week_micros": COST, "month_micros": COST, "total_micros": COST}
    assert made.key not in json.dumps(told) and made.key.startswith(told["begins_with"])
    data = told["data"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (0.00001, 0.000008, "daily")
    assert (data["usage"], data["usage_monthly"], data["rate_limit"]["requests"]) == (0.000002, 0.000002, 7)


def test_a_key_without_a_cap_has_no_limit(room: Room) -> None:
    data = room.get("/v1/key")["data"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"], data["usage"]) == (None, None, None, 0)


def test_openrouter_s_paths_are_the_same(room: Room) -> None:
    paths = ("/v1/key", "/api/v1/key", "/api/v1/auth/key")
    assert len({reply.body for reply in room.ask(*(getting(path, x_api_key=room.made.key) for path in paths))}) == 1
    (refused,) = room.ask(getting("/api/v1/credits", x_api_key="grk_nobody"))
    assert refused.error["code"] == 401


def test_credits_are_what_was_granted_less_what_was_used(room: Room) -> None:
    room.ask(posting(BODY, x_api_key=room.made.key))
    told = room.get("/v1/credits")
    assert told["data"] == {"total_credits": 0.001, "total_usage": 0.000002}
    assert (told["granted_micros"], told["used_micros"], told["balance_micros"]) == (1_000, COST, 998)
    assert [(grant["left_micros"], grant["left_usd"]) for grant in told["grants"]] == [(998, "0.000998")]


def test_an_account_is_shown_with_the_limits_in_force(room: Room) -> None:
    told = room.get("/v1/account")
    assert (told["account_id"], told["email"], told["balance_micros"]) == (room.made.account_id, "a@example.org", 1_000)
    assert set(told["limits"].values()) == {None}


def test_what_a_key_without_the_account_scope_sees(room: Room) -> None:
    made = room.another("b@example.org", scopes=("inference",))
    replies = room.ask(*(getting(path, x_api_key=made.key) for path in ("/v1/key", "/v1/credits", "/v1/account", "/v1/usage")))
    assert [reply.status for reply in replies] == [200, 403, 403, 403]


def route_visit(route: Route) -> Visit:
    request = posting({}, route.path) if route.method == "POST" else getting(route.path)
    request.method = route.method
    return request


def test_without_accounts_there_is_nothing_of_it(tmp_path: Path) -> None:
    app = create_app(Settings(models=("fake",), state_dir=str(tmp_path)), FakeBackend())
    for route in hosted_routes.ROUTES:
        reply = run(visit(app, route_visit(route)))
        assert (reply.status, reply.json["detail"][:30]) == (404, "this key belongs to no account")


def test_the_operator_s_own_key_has_no_account(database: Database, database_url: str, tmp_path: Path) -> None:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True, api_keys=("own",))
    (reply,) = Room(settings, database).ask(getting("/v1/key", x_api_key="own"))
    assert reply.status == 404


# Tokens.


def test_a_token_asks_models_and_its_key_pays(room: Room) -> None:
    reply = room.mint()
    token = reply.json["token"]
    assert (reply.status, reply.json["expires_in"], reply.json["scopes"]) == (200, 600, ["inference"])
    assert reply.headers["cache-control"] == "no-store"
    served, refused, itself = room.ask(
        posting(BODY, authorization=f"Bearer {token}"),
        getting("/v1/credits", x_api_key=token),
        getting("/v1/key", x_api_key=token),
    )
    assert (served.status, refused.status) == (200, 403)
    assert (itself.json["key_id"], itself.json["scopes"]) == (room.made.key_id, ["inference"])
    assert itself.json["token_expires"] == reply.json["expires_at"]
    assert room.get("/v1/key")["spent_micros"] == COST


def test_a_token_may_ask_its_models_alone(room: Room) -> None:
    token = room.mint(models=["fake-embedder"]).json["token"]
    refused, served = room.ask(posting(BODY, x_api_key=token), posting({"input": "a"}, "/v1/embeddings", x_api_key=token))
    assert (refused.status, refused.error["code"], served.status) == (403, "model_not_allowed", 200)


def test_a_token_ends_with_its_key_and_by_the_clock(room: Room) -> None:
    def known(text: str, now: int) -> Tenant:
        return room.database.transaction(lambda one: authenticate(one, room.secrets, text, Limits(), now))

    text = mint(room.secrets, known(room.made.key, NOW), tokens.Token(room.made.key_id, NOW + 60, ("inference",), None))
    assert known(text, NOW + 59).token_expires == NOW + 60
    with pytest.raises(Unauthorized, match="the token has expired"):
        known(text, NOW + 60)
    room.database.transaction(lambda one: rotate(one, room.secrets, NOW))
    assert known(text, NOW).key_id == room.made.key_id
    room.database.transaction(lambda one: set_disabled(one, room.made.key_id, True))
    with pytest.raises(Unauthorized, match="the API key is disabled"):
        known(text, NOW)


def test_a_secret_that_leaked_signs_no_token_a_day_after_it_was_replaced(room: Room) -> None:
    """Though keys that nobody has used since are kept by it still."""

    def known(text: str, now: int) -> Tenant:
        return room.database.transaction(lambda one: authenticate(one, room.secrets, text, Limits(), now))

    forged = tokens.write(room.secrets, tokens.Token(room.made.key_id, NOW + 10**9, ("inference",), None))
    replaced, end = NOW + 1_000, NOW + 1_000 + tokens.MOST_S
    room.database.transaction(lambda one: rotate(one, room.secrets, replaced))
    assert known(forged, replaced).key_id == known(forged, end - 1).key_id == room.made.key_id
    with pytest.raises(Unauthorized, match="mistyped or cut"):
        known(forged, end)
    mine = tokens.write(room.secrets, tokens.Token(room.made.key_id, end + 60, ("inference",), None))
    assert known(mine, end).key_id == room.made.key_id
    assert known(room.made.key, end).key_id == room.made.key_id  # by the old secret, and by the new one from now on


def test_a_token_of_a_key_that_was_deleted_is_none_whatever_its_row_says(room: Room) -> None:
    token = room.mint().json["token"]
    room.database.transaction(lambda one: one.execute(update(keys).values(deleted=NOW, disabled=0)))
    (reply,) = room.ask(posting(BODY, x_api_key=token))
    assert (reply.status, reply.error["message"]) == (401, "the API key is not known here")


def test_a_token_can_do_no_more_than_its_key(room: Room) -> None:
    tenant = Tenant("acc_1", "key_1", ("inference",), ("fake",), Limits(), Limits())
    with pytest.raises(AccessDenied, match="has no scope account"):
        mint(room.secrets, tenant, tokens.Token("key_1", NOW, ("account",), None))
    with pytest.raises(ModelNotAllowed, match="may not ask other"):
        mint(room.secrets, tenant, tokens.Token("key_1", NOW, ("inference",), ("other",)))
    narrow = room.another("b@example.org", models=("fake",))
    token = room.mint(narrow.key).json["token"]
    (embedding,) = room.ask(posting({"input": "a"}, "/v1/embeddings", x_api_key=token))
    assert embedding.status == 403


def test_a_token_makes_no_token(room: Room) -> None:
    refused = room.mint(room.mint().json["token"])
    assert (refused.status, refused.error["message"]) == (403, "a token makes no tokens: send its key")


def test_a_token_that_was_not_written_here_is_none(room: Room) -> None:
    token = room.mint().json["token"]
    content, _, sign = token.removeprefix("grt_").partition(".")
    other = json.loads(base64.urlsafe_b64decode(content + "=="))
    other[1] += 10_000
    longer = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    texts = (token[:-1], f"grt_{longer}.{sign}", f"grt_{content}.{'0' * 64}", "grt_", "grt_ä.ö")
    for reply in room.ask(*(posting(BODY, x_api_key=text) for text in texts)):
        assert (reply.status, reply.error["message"][:30]) == (401, "the token is mistyped or cut, ")


def test_what_is_no_token_s_wish_is_refused_with_its_name(room: Room) -> None:
    wrong: list[tuple[Any, str]] = [
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": 86_401}, "expires_in"),
        ({"scopes": ["all"]}, "scopes"),
        ({"scopes": [7]}, "scopes[0]"),
        ({"models": []}, "models"),
        ({"models": [""]}, "models[0]"),
        ({"dry_run": True}, "dry_run"),
        ([], "body"),
    ]
    replies = room.ask(*(posting(body, "/v1/key/token", x_api_key=room.made.key) for body, _ in wrong))
    assert [(reply.status, reply.error["param"]) for reply in replies] == [(400, param) for _, param in wrong]


def test_no_token_is_kept_for_a_repeated_request(room: Room) -> None:
    headers = {"x_api_key": room.made.key, repeats.HEADER.replace("-", "_"): "k-1"}
    first, second = room.ask(*(posting({}, "/v1/key/token", **headers) for _ in range(2)))
    assert (first.status, second.status) == (200, 200)
    assert room.database.transaction(lambda one: one.execute(kept.select()).first()) is None
