"""Every route of the server, spoilt in its path, its query, its headers and its body: none falls over, and the ledger is sound.

What may be asked at all is asked well too, so that what is spoilt was good before.
"""

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest

from accounts import Made
from asgi import Reply, Visit, posting, run, visit
from batching import BOUNDARY, form, lines
from forms import BROWSER, FORM
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.app import ROUTES
from gigarank.service.call import Route
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import audit, grant
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue
from gigarank.service.tenant import Scope
from gigarank.service.web.console_routes import ROUTES as PAGES
from people import PASSWORD, Browser, Town

MUTATIONS = int(os.environ.get("GIGARANK_TEST_MUTATIONS", "700"))  # of each database; docs/reliability.md has those of 2,500
STARTS = "POST /operator/onboard"  # a program of its own, which fetches a model
EVERY = [route for route in (*ROUTES, *PAGES) if route.hosted != STARTS]
NASTY = ["", " ", "x", "\x00", "a\x00b", "%", "..", "é", "\U0001f600", "'", '"', "-1", "0", "9" * 30, "1e9", "NaN", "a" * 3_000]
VALUES: list[Any] = [None, True, -1, 0, 2**31, 2**63, 10**30, 1e308, "\ud800", [], {}, [[]], ["a"], [None], {"a": "b"}]
VALUES += NASTY
ASKED: dict[str, Any] = {"query": "red planet", "documents": ["Mars", "a red car"]}
CHAT = {"messages": [{"role": "user", "content": "red?"}], "logprobs": True}
DASHSCOPE = {"model": "fake", "input": ASKED, "parameters": {"top_n": 1}}
MIXEDBREAD = {"model": "fake", "query": "red", "input": ["Mars"], "top_k": 1}
NIM = {"model": "fake", "query": {"text": "red"}, "passages": [{"text": "Mars"}]}
SEEDS: list[tuple[str, Any]] = [
    ("text-rerank", DASHSCOPE),
    ("/v1/inference/", {"queries": ["red"], "documents": ["Mars"]}),
    ("mixedbread", MIXEDBREAD),
    ("ranking", NIM),
    ("/reranking", NIM),
    ("pinecone", {"model": "fake", "query": "red", "documents": [{"text": "Mars"}], "top_n": 1}),
    ("score", {"queries": "red", "documents": ["Mars"]}),
    ("/tei/", {"query": "red", "texts": ["Mars"], "raw_scores": True}),
    ("rerank", {**ASKED, "model": "fake", "top_n": 1}),
    ("embeddings", {"input": ["Mars"], "dimensions": 8, "encoding_format": "float"}),
    ("decisions", {"input": "red", "questions": [{"type": "predicate", "instructions": "is it?"}]}),
    ("systemone", {"model": "fake", "state": "red", "questions": {"is": {"type": "noul", "instructions": "is it?"}}}),
    ("chat/completions", CHAT),
    ("completions", {"prompt": "red?", "logprobs": 1}),
]
"""By what a path has in it, the first that fits."""
PAIR = {"email": "new@example.org", "password": PASSWORD}
TERMS = {"name": "k", "scopes": ["inference"], "models": ["fake"], "cap_usd": "1.50", "cap_period": "day"}
FIELDS: dict[str, str] = {
    **PAIR,
    **dict.fromkeys(("days", "usd", "requests_per_minute", "tokens_per_minute", "concurrent_requests"), "7"),
    **{"name": "k", "scopes": "inference", "scope": "inference", "cap_usd": "1.50", "cap_period": "day", "models": "fake"},
    **{"model": "fake", "state": "served", "reason": "r", "code": "grc_x", "endpoint": "/v1/rerank", "new_password": PASSWORD},
}
"""Of forms, which leave out what they do not know."""


class Walk:
    """One town, walked by an operator's browser and a key of the same account; `known`: good values of what can be named."""

    def __init__(self, town: Town, seed: int) -> None:
        self.town, self.dice = town, random.Random(seed)
        self.made = Made("", "", "")
        self.known: dict[str, str] = {"model": "fake", "id": "fake", "provider": "p"}
        self.people = 0

    def body_of(self, route: Route) -> Any:
        if not route.hosted:
            return next(body for part, body in SEEDS if part in route.path)
        made = self.known
        good: dict[str, Any] = {
            "mint_token": {"expires_in": 60, "scopes": ["inference"], "models": ["fake"]},
            "create_batch": {"input_file_id": made["file_id"], "endpoint": "/v1/rerank", "completion_window": "24h"},
            "set_body_terms": {"days": 1, "key_id": None},
            "ask_for_model": {"model": "Qwen/Qwen3-Reranker-4B"},
            "sign_up": PAIR,
            "sign_in": {"email": f"p{self.people}@example.org", "password": PASSWORD},
            "forgot": {"email": f"p{self.people}@example.org"},
            "verify": {"token": "x", "password": PASSWORD},
            "reset": {"token": "x", "password": PASSWORD},
            "confirm_email": {"token": "x"},
            "change_password": {"password": PASSWORD, "new_password": PASSWORD + "!"},
            "change_email": {"email": "other@example.org", "password": PASSWORD},
            "redeem": {"code": "grc_x"},
            "create_key": TERMS,
            "change_key": {**TERMS, "disabled": False},
            "delete_me": {"password": PASSWORD},
        }
        return good.get(route.hosted, {})

    def spoilt(self, body: Any) -> bytes:
        """One thing of it replaced, removed or added, at the top or below it, or its text cut or changed."""
        changed = json.loads(json.dumps(body))
        kind, where = self.dice.randrange(6), changed
        inner = [value for value in changed.values() if isinstance(value, dict) and value]
        if inner and self.dice.random() < 0.3:
            where = self.dice.choice(inner)
        name = self.dice.choice([*where, "dry_run", "model", "limit", "expires_after", "metadata"])
        if kind == 0:
            where.pop(name, None)
        elif kind in (1, 2):
            where[name] = self.dice.choice(VALUES)
        content = json.dumps(changed).encode()
        return self.broken(content) if kind in (3, 4) else content

    def broken(self, content: bytes) -> bytes:
        place = self.dice.randrange(max(1, len(content)))
        return content[:place] if self.dice.random() < 0.4 else content[:place] + self.dice.randbytes(1) + content[place + 1 :]

    def path_of(self, route: Route) -> str:
        def value(found: re.Match[str]) -> str:
            good = self.known.get(found[1], "x")
            return good if self.dice.random() < 0.7 else self.dice.choice([*NASTY, good[:-1], good + "x"])

        return re.sub(r"\{(\w+)(?::path)?\}", value, route.path)

    def query_of(self, route: Route) -> str:
        names = [*route.query, "limit", "after", "format", "model", "file", "done", "days"]
        good = {"limit": "2", "format": "csv", "group_by": "day,model", "from": "2026-11-01", "to": "2026-11-26", **self.known}
        pairs = []
        for name in self.dice.sample(names, self.dice.choice([0, 0, 1, 2, 3]) % (len(names) + 1)):
            text = good.get(name, "") if self.dice.random() < 0.5 else self.dice.choice(NASTY)
            value = quote(text) if self.dice.random() < 0.9 else quote_from_bytes(self.dice.randbytes(3))
            pairs.append(f"{name}={value}")
        return "&".join(pairs)

    def form_of(self, browser: Browser) -> bytes:
        fields = {**FIELDS, **self.known, "input_file_id": self.known["file_id"], "csrf_token": browser.csrf}
        if self.dice.random() < 0.6:
            fields[self.dice.choice([*fields])] = self.dice.choice(NASTY)
        return "&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items()).encode()

    def request_of(self, route: Route, browser: Browser) -> Visit:
        headers: dict[str, str] = {} if route.visitor else {"x-api-key": self.made.key}
        headers |= self.dice.choice([{}, {}, {"idempotency-key": self.dice.choice(["k", "k" * 300])}, {"x-tier": "batch"}])
        content = b""
        if route.upload:
            purpose = self.dice.choice(["batch"] * len(NASTY) + NASTY)
            content = form(lines(2), purpose=purpose, csrf_token=browser.csrf)
            headers["content-type"] = f"multipart/form-data; boundary={BOUNDARY}"
            content = self.broken(content) if self.dice.random() < 0.3 else content
        elif route.page:
            headers |= {"content-type": FORM, "accept": BROWSER}
            content = self.form_of(browser)
        elif route.method == "POST":
            content = self.spoilt(self.body_of(route))
        if route.method == "GET":
            content = b""
        made = posting(content, self.path_of(route), **headers)
        return replace(made, method=route.method, query=self.query_of(route))

    async def refresh(self, browser: Browser) -> None:
        """Somebody new signs in, with credit and a key."""
        self.people += 1
        email = f"p{self.people}@example.org"
        account_id, secrets = self.town.operator(email), open_secrets(self.town.settings)

        def work(one: Any) -> Made:
            grant(one, account_id, Grant(10**9), self.town.now)
            scopes: tuple[Scope, ...] = ("inference", "account", "batches")
            key, text = issue(one, secrets, account_id, Terms(scopes=scopes), self.town.now)
            return Made(account_id, key.id, text)

        self.made = await asyncio.to_thread(self.town.database.transaction, work)
        self.known["account_id"] = account_id
        browser.cookie = browser.csrf = ""
        await browser.sign_in(email)
        self.known["session_id"] = (await browser.well("list_sessions"))["data"][0]["session_id"]
        await self.supply(browser)

    async def supply(self, browser: Browser) -> None:
        """A file, a batch, a key and a log that the walk can name: what it had it may have deleted."""
        head = {"x-api-key": self.made.key}
        kind = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        sent = posting(form(lines(2), purpose="batch"), "/v1/files")
        reply = await visit(browser.app, replace(sent, headers={**sent.headers, **head, **kind}))
        self.known["file_id"] = reply.json["id"]
        wanted = {"input_file_id": reply.json["id"], "endpoint": "/v1/rerank", "completion_window": "24h"}
        made = await visit(browser.app, posting(wanted, "/v1/batches", x_api_key=self.made.key))
        self.known["batch_id"] = made.json["id"] if made.status == 200 else "batch_x"
        self.known["key_id"] = (await browser.well("create_key", TERMS))["key_id"]
        await visit(browser.app, posting({"days": 1}, "/v1/logging", x_api_key=self.made.key))
        await visit(browser.app, posting(ASKED, x_api_key=self.made.key))
        logs = await visit(browser.app, replace(posting(b"", "/v1/logs", x_api_key=self.made.key), method="GET"))
        self.known["log_id"] = next((one["id"] for one in logs.json["data"]), "log_x")

    async def ask(self, browser: Browser, route: Route) -> Reply:
        """From a place of its own, so that nobody has tried too often."""
        number = self.dice.randrange(2**24)
        browser.client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        request = self.request_of(route, browser)
        if route.visitor:
            reply = await browser.send(request)
            browser.csrf = csrf_token(browser.cookie.partition("=")[2])
        else:
            headers = {**request.headers, "x-forwarded-for": browser.client}
            reply = await visit(browser.app, replace(request, headers=headers))
        return reply


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Iterator[Town]:
    yield Town(database, database_url, tmp_path, max_body_days=30)
    assert database.transaction(audit).problems == ()


def test_no_route_falls_over_whatever_it_is_asked(town: Town) -> None:
    walk = Walk(town, 11)
    statuses: Counter[int] = Counter()
    well: set[str] = set()

    async def work() -> list[str]:
        broken = []
        async with town.open() as app:
            browser = town.browser(app)
            for number in range(MUTATIONS):
                if number % len(EVERY) == 0:
                    walk.dice.shuffle(EVERY)
                if not browser.cookie or number % 50 == 0:
                    await walk.refresh(browser)
                route = EVERY[number % len(EVERY)]
                reply = await walk.ask(browser, route)
                statuses[reply.status] += 1
                if reply.status < 400:
                    well.add(f"{route.method} {route.path}")
                elif reply.status >= 500:
                    broken.append(f"{reply.status} {route.method} {route.path} {reply.body[:300]!r}")
                elif reply.status == 401:
                    browser.cookie = ""
        return broken

    assert run(work(), 180.0 + MUTATIONS / 10) == []
    assert statuses[200] > MUTATIONS // 8 and statuses[400] > MUTATIONS // 8
    assert len(well) > len(EVERY) // 2, statuses
