"""Every route as an account meets it: none without a key, none that falls over, and none that shows the operator's."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts import Made, make_account
from asgi import Reply, Visit, ask_in_turn, getting, posting
from gigarank.service.app import ROUTES, create_app
from gigarank.service.call import Route
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.migrations import migrate
from gigarank.service.settings import Settings

PUBLIC = {"/health", "/ready", "/openapi.json"}
MUTATIONS = int(os.environ.get("GIGARANK_TEST_MUTATIONS", "400"))  # docs/reliability.md has the figures of 10,000
VALUES: list[Any] = [None, True, 0, -1, 10**30, 1.5, "", "x", "\ud800", [], {}, [[]], ["a"], [{"text": "b"}], {"text": "c"}]
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/rerank", {"query": "red planet", "documents": ["Mars", "a red car"], "top_n": 1, "model": "fake"}),
    ("/v1/score", {"queries": "red", "documents": ["Mars"]}),
    ("/rerank", {"query": "red", "texts": ["Mars"], "raw_scores": True}),
    ("/v1/embeddings", {"input": ["Mars"], "dimensions": 8, "encoding_format": "float"}),
    ("/v1/decisions", {"input": "red", "questions": [{"type": "predicate", "instructions": "is it?"}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "red?"}], "logprobs": True}),
    ("/v1/completions", {"prompt": "red?", "logprobs": 1}),
]


class Hosted:
    def __init__(self, settings: Settings, made: Made) -> None:
        self.settings, self.made = settings, made

    def ask(self, *requests: Visit) -> list[Reply]:
        return ask_in_turn(create_app(self.settings, FakeBackend()), *requests, timeout_s=120.0)


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Hosted]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=f"sqlite:///{tmp_path}/x.db", accounts=True)
    database = Database(settings.database_url)
    migrate(database)
    yield Hosted(settings, make_account(database, open_secrets(settings), 10**9))
    assert database.transaction(audit).problems == ()
    database.close()


def request_of(route: Route, **headers: str) -> Visit:
    path = route.path.replace("{model:path}", "fake").replace("{model}", "fake")
    request = posting({}, path, **headers) if route.method == "POST" else getting(path, **headers)
    request.method = route.method
    return request


KEYED = [route for route in ROUTES if not route.visitor and (route.tag, route.method) != ("catalogue", "GET")]
SIGNED_IN = [route for route in ROUTES if route.visitor in ("person", "operator")]


def test_no_route_answers_without_a_key(hosted: Hosted) -> None:
    replies = hosted.ask(*(request_of(route) for route in KEYED), getting("/metrics"))
    assert {reply.status for reply in replies} == {401}


def test_a_key_is_no_session(hosted: Hosted) -> None:
    assert len(SIGNED_IN) > 15
    for headers in ({}, {"x_api_key": hosted.made.key}):
        replies = hosted.ask(*(request_of(route, **headers) for route in SIGNED_IN))
        assert {reply.status for reply in replies} <= {401, 403}


def test_the_public_ones_need_none(hosted: Hosted) -> None:
    assert {reply.status for reply in hosted.ask(*(getting(path) for path in sorted(PUBLIC)))} == {200}


def test_no_route_falls_over_for_an_account(hosted: Hosted) -> None:
    replies = hosted.ask(*(request_of(route, x_api_key=hosted.made.key) for route in ROUTES))
    statuses = {reply.status for route, reply in zip(ROUTES, replies, strict=True) if not route.visitor}
    assert statuses <= {200, 400, 404}, statuses
    assert max(reply.status for reply in replies) < 500


def mutated(dice: random.Random, body: dict[str, Any]) -> bytes:
    """One thing of the body replaced, removed or added, or its text cut or spoilt."""
    changed = dict(body)
    kind = dice.randrange(5)
    name = dice.choice([*changed, "dry_run", "service_tier", "deadline_ms", "top_n", "documents", "query"])
    if kind == 0:
        changed.pop(name, None)
    elif kind in (1, 2):
        changed[name] = dice.choice(VALUES)
    content = json.dumps(changed).encode()
    if kind == 3:
        return content[: dice.randrange(len(content))]
    if kind == 4:
        place = dice.randrange(len(content))
        return content[:place] + dice.randbytes(1) + content[place + 1 :]
    return content


def test_mutated_requests_never_break_the_server_or_the_ledger(hosted: Hosted) -> None:
    dice = random.Random(7)
    requests = []
    for _ in range(MUTATIONS):
        path, body = dice.choice(BODIES)
        headers = dice.choice([{}, {}, {"idempotency_key": dice.choice(["", "k", "k" * 300])}, {"x_tier": "batch"}])
        requests.append(posting(mutated(dice, body), path, x_api_key=hosted.made.key, **headers))
    replies = hosted.ask(*requests)
    statuses = [reply.status for reply in replies]
    assert [reply.body for reply in replies if reply.status not in (200, 400, 404, 409, 413)] == []
    assert statuses.count(200) > MUTATIONS // 8 and statuses.count(400) > MUTATIONS // 8
