"""Files and batches asked over the application, as a client does: uploads, requests in lines, a batch to its end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
from fastapi import FastAPI
from sqlalchemy import select

from accounts import Made, make_account
from asgi import Reply, Visit, getting, posting, run, visit
from gigarank.service import hosted_routes
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.settings import Settings
from gigarank.service.tables import usage

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}
COST = 1  # micro-dollars: 28 tokens at 0.025 USD a million, rounded up
ENDED = ("completed", "failed", "expired", "cancelled")
BOUNDARY = "x-boundary-x"


def line(custom_id: Any, body: Any = None, **fields: Any) -> bytes:
    row = {"custom_id": custom_id, "method": "POST", "url": "/v1/rerank", "body": BODY if body is None else body, **fields}
    return json.dumps(row).encode() + b"\n"


def lines(count: int) -> bytes:
    return b"".join(line(f"r-{number}") for number in range(count))


def form(content: bytes, filename: str = "in.jsonl", **fields: str) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    parts = [f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    text = "".join(parts) + f'{head}"file"; filename="{filename}"\r\n' + "Content-Type: application/octet-stream\r\n\r\n"
    return text.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def uploading(body: bytes, key: str, pieces: int = 1) -> Visit:
    size = -(-len(body) // pieces)
    headers = {"content-length": str(len(body)), "content-type": f"multipart/form-data; boundary={BOUNDARY}", "x-api-key": key}
    return Visit("POST", "/v1/files", headers, [body[place : place + size] for place in range(0, len(body), size)])


class Client:
    """One account's key at an application that is open."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self.app, self.key = app, key

    async def send(self, request: Visit) -> Reply:
        return await visit(self.app, replace(request, headers={**request.headers, "x-api-key": self.key}))

    async def get(self, path: str) -> Reply:
        path, _, query = path.partition("?")
        request = getting(path)
        request.query = query
        return await self.send(request)

    async def post(self, path: str, body: Any = b"") -> Reply:
        return await self.send(posting(body, path))

    async def delete(self, path: str) -> Reply:
        return await self.send(replace(getting(path), method="DELETE"))

    async def upload(self, content: bytes, **fields: str) -> str:
        reply = await self.send(uploading(form(content, **{"purpose": "batch", **fields}), self.key))
        assert reply.status == 200, reply.body
        described(reply, "create_file")
        return str(reply.json["id"])

    async def create(self, content: bytes, endpoint: str = "/v1/rerank", **more: Any) -> Any:
        body = {"input_file_id": await self.upload(content), "endpoint": endpoint, "completion_window": "24h", **more}
        reply = await self.post("/v1/batches", body)
        assert reply.status == 200, reply.body
        return described(reply, "create_batch")

    async def until(self, batch_id: str, reached: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(60.0):
            while True:
                batch = described(await self.get(f"/v1/batches/{batch_id}"), "show_batch")
                if reached(batch):
                    return batch
                await asyncio.sleep(0.02)

    async def ended(self, batch_id: str) -> Any:
        return await self.until(batch_id, lambda batch: batch["status"] in ENDED)

    async def rows(self, file_id: str | None) -> list[Any]:
        """A file's lines."""
        if file_id is None:
            return []
        reply = await self.get(f"/v1/files/{file_id}/content")
        assert reply.status == 200 and reply.headers["content-length"] == str(len(reply.body))
        return [json.loads(text) for text in reply.body.splitlines()]


def described(reply: Reply, name: str) -> Any:
    """The answer, which its route describes."""
    route = next(route for route in hosted_routes.ROUTES if route.hosted == name)
    jsonschema.validate(reply.json, route.response)
    return reply.json


class Works:
    """A server with accounts, one of them, and what becomes of both."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database, self.secrets = settings, database, open_secrets(settings)
        self.made = self.another("a@example.org", 10_000)
        self.backend = FakeBackend()
        self.gate: Any = None

    def another(self, email: str, micros: int = 10_000, **terms: Any) -> Made:
        return make_account(self.database, self.secrets, micros, email, **terms)

    @asynccontextmanager
    async def open(self, key: str = "") -> AsyncIterator[Client]:
        app = create_app(self.settings, self.backend, gate=self.gate() if self.gate is not None else None)
        async with app.router.lifespan_context(app):
            yield Client(app, key or self.made.key)

    def do(self, work: Callable[[Client], Coroutine[Any, Any, Any]], key: str = "") -> Any:
        async def opened() -> Any:
            async with self.open(key) as client:
                return await work(client)

        return run(opened(), 90.0)

    def uses(self) -> Sequence[Any]:
        return self.database.transaction(lambda one: one.execute(select(usage)).mappings().all())

    async def keeps(self, *names: str) -> None:
        """Waits until these are all that is stored: a batch is done a moment before its segments are deleted."""
        async with asyncio.timeout(60.0):
            while self.stored() != sorted(names):
                await asyncio.sleep(0.02)

    def stored(self) -> list[str]:
        """Names in the store and the spool."""
        folder = Path(self.settings.state_dir) / "files"
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
