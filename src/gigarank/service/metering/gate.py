"""The way in for keys of accounts: whose they are, what they may do, and what each of their requests costs.

Knows the domains of hosting and no route. Invariants: whoever gets past `admit` sent a key that was good in the database at
that moment; a request is settled with its row of usage and its kept answer in one transaction, before its answer is sent, or
not at all.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import token_hex

import orjson
from sqlalchemy import Connection

from gigarank.errors import AccessDenied, DatabaseUnavailable, Unauthorized, UnknownModel, UnsupportedParameter
from gigarank.service.accounts.attempts import client_of
from gigarank.service.accounts.door import Door
from gigarank.service.backend import ScoringBackend
from gigarank.service.batches.runner import BatchRunner
from gigarank.service.batches.segment import Bench
from gigarank.service.batches.storage import Depot, Spool, open_store
from gigarank.service.bodies.schemas import Seen
from gigarank.service.bodies.service import keep
from gigarank.service.call import Answer, Call, Route, Routes, tenant_of
from gigarank.service.catalogue import service as catalogue
from gigarank.service.credits.money import usd
from gigarank.service.credits.service import settle
from gigarank.service.db import Work
from gigarank.service.desk import Desk
from gigarank.service.hosted import open_database, open_secrets
from gigarank.service.hosted_endpoints import ENDPOINTS
from gigarank.service.ids import new_id
from gigarank.service.keys.secrets import Secrets
from gigarank.service.keys.service import authenticate, require_scope
from gigarank.service.lasting import attempt, whole
from gigarank.service.mail.sender import MailSender
from gigarank.service.mail.smtp import read_relay
from gigarank.service.metering import repeats
from gigarank.service.metering.limits import RateLimiter
from gigarank.service.metering.meter import House, Meter, MeteredBackend, Quoted
from gigarank.service.metering.quotes import is_dry, quote
from gigarank.service.metering.sweeper import Sweeper
from gigarank.service.settings import Settings
from gigarank.service.tenant import Limits, Scope, Tenant
from gigarank.service.web.hosted_pages import HOSTED_PAGES

_OPERATORS_TAG, _KEYS_TAG = "operations", "key"
_SCOPES: Mapping[str, Scope | None] = {"account": "account", "batches": "batches", "catalogue": "account", _KEYS_TAG: None}
"""What a key needs for routes of a tag; for others, inference to POST, and nothing to look at what is offered."""
_JSON = "application/json"
_ALONE = "limits: rate_limit_url is memory://: each server at this PostgreSQL counts alone, and two let twice as much in"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    house: House
    secrets: Secrets
    depot: Depot
    door: Door
    tasks: tuple[asyncio.Task[None], ...]


class AccountGate:
    """`clock`: Unix seconds. `backend` and `routes` are what batches ask; without, they wait for another server. Nothing is
    opened before `start`."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        backend: ScoringBackend | None = None,
        routes: Routes = (),
    ) -> None:
        self._settings = settings
        self._backend, self._routes = backend, routes
        self._clock = clock
        self._opened: _Open | None = None
        self._usual = Limits.usual(settings)

    async def start(self) -> None:
        limiter = RateLimiter(self._settings.rate_limit_url, opens=self._settings.rate_limit_outage == "open")
        door = Door.of(self._settings, limiter)
        relay = read_relay(self._settings.smtp_url, self._settings.mail_from) if self._settings.smtp_url else None
        database = await asyncio.to_thread(open_database, self._settings)
        secrets = await asyncio.to_thread(open_secrets, self._settings)
        if limiter.local and not database.embedded:
            _LOG.warning(_ALONE)
        house = House(database, limiter, new_id("server"), await database.run(catalogue.retirements))
        store = await asyncio.to_thread(open_store, self._settings)
        depot = Depot(store, await asyncio.to_thread(Spool, self._settings.state_dir), asyncio.Event())
        tasks = [asyncio.create_task(Sweeper(house, door, self._clock).run(), name="sweep")]
        tasks.append(asyncio.create_task(house.owed.run(), name="owed"))
        if self._backend is not None:
            endpoints = {route.path: route.endpoint for route in self._routes if route.method == "POST"}
            bench = Bench(house, self._backend, endpoints, self._settings)
            tasks.append(asyncio.create_task(BatchRunner(bench, depot, self._clock).run(), name="batches"))
        if relay is not None:
            sender = MailSender(database, relay, house.owner, self._clock, door.letters)
            tasks.append(asyncio.create_task(sender.run(), name="mail"))
        self._opened = _Open(house, secrets, depot, door, tuple(tasks))

    async def close(self) -> None:
        if self._opened is not None:
            for task in self._opened.tasks:
                task.cancel()
            await asyncio.wait(self._opened.tasks)
            await attempt("scrubbing", asyncio.to_thread(self._opened.house.database.scrub))
            await asyncio.to_thread(self._opened.house.database.close)
            await asyncio.to_thread(self._opened.door.close)

    async def admit(self, texts: Sequence[str], route: Route) -> Tenant:
        tenant = await self._whose(texts)
        if route.tag == _OPERATORS_TAG:
            message = "this is the operator's, who has keys of another kind"
            raise AccessDenied(message, param="authorization", limit="operator", received="account")
        scope = _SCOPES.get(route.tag, "inference" if route.method == "POST" else None)
        if scope is not None:
            require_scope(tenant, scope)
        return tenant

    async def perform(self, call: Call, route: Route, content: bytes, headers: dict[str, str]) -> Answer:
        """The endpoint's answer, with its costs settled. `headers` takes the state of the rate limits, whatever happens."""
        tenant = tenant_of(call)
        limiter = self._house.limiter
        try:
            await limiter.enter(tenant)
            return await self._charged(call, route, content)
        finally:
            with contextlib.suppress(DatabaseUnavailable):
                headers.update(await limiter.headers(tenant))

    async def receive(self, call: Call, route: Route) -> Answer:
        return await self._ready().door.receive(self._desk(self._now()), call, route)

    async def show(self, call: Call, route: Route) -> Answer:
        await self._ready().door.attempts.enter("look", client_of(call))
        endpoints = HOSTED_PAGES if route.tag == "pages" else ENDPOINTS
        return await endpoints[route.hosted](self._desk(self._now()), call)

    async def _charged(self, call: Call, route: Route, content: bytes) -> Answer:
        meter = Meter(self._house, tenant_of(call), self._now(), dry=is_dry(call))
        repeat = None if meter.dry or route.tag == _KEYS_TAG else self._repeat(call, content)  # no key's text is kept
        if repeat is not None:
            kept = await self._claimed(repeat, meter.now)
            if kept is not None:
                headers = {"content-type": kept.content_type, "idempotent-replayed": "true"}
                return Answer(kept.body, headers=headers, status=kept.status)
        try:
            answer = await self._asked(replace(call, backend=MeteredBackend(call.backend, meter)), route, meter)
            return await self._settled(answer, meter, call, (route, content), repeat)
        except Quoted as quoted:
            return quote(quoted)
        finally:
            await meter.close()
            if repeat is not None:
                await self._house.owed.give_back(lambda connection: repeats.give_up(connection, repeat))

    async def _claimed(self, repeat: repeats.Repeat, now: int) -> repeats.Kept | None:
        """Who leaves meanwhile gives it up: a claim that nobody has would keep the next request with this key waiting."""
        try:
            return await whole(self._house.database.run(lambda connection: repeats.claim(connection, repeat, now)))
        except asyncio.CancelledError:
            await self._house.owed.give_back(lambda connection: repeats.give_up(connection, repeat))
            raise

    async def _asked(self, call: Call, route: Route, meter: Meter) -> Answer:
        if not route.hosted:
            try:
                return await route.endpoint(call)
            except UnknownModel as error:
                raise await self._explained(error) from error
        if meter.dry:
            message = "dry_run: nothing is computed here, and so nothing has a price"
            raise UnsupportedParameter(message, param="dry_run", limit=False, received=True)
        return await ENDPOINTS[route.hosted](self._desk(meter.now), call)

    async def _explained(self, error: UnknownModel) -> UnknownModel:
        """What the catalogue knows of a model that is not served."""
        asked = str(error.received) if error.param == "model" else ""
        told = await self._house.database.run(lambda connection: catalogue.explain(connection, asked))
        return error if told is None else UnknownModel(told, param="model", limit=error.limit, received=error.received)

    def _desk(self, now: int) -> Desk:
        return Desk(self._house.database, self._secrets, now, self._ready().depot)

    async def _settled(
        self, answer: Answer, meter: Meter, call: Call, asked: tuple[Route, bytes], repeat: repeats.Repeat | None
    ) -> Answer:
        """All or nothing: the debits, the rows of usage, the kept answer and the kept bodies. What failed costs nothing and is
        not kept. `asked`: the route, and the body as it came."""
        route, content = asked
        if answer.status >= 400 or answer.stream is not None:
            return answer
        body = answer.body
        if not isinstance(body, bytes):
            body = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        uses = meter.uses(call.request_id, route.path, int((time.monotonic() - call.received) * 1e3))
        seen = Seen(call.request_id, route.path, answer.status, content, body, *self._most_kept)
        kept = repeats.Kept(answer.status, answer.headers.get("content-type", _JSON), body)

        def work(connection: Connection) -> None:
            for use in uses:
                settle(connection, use, meter.now)
            if uses:
                keep(connection, meter.tenant, seen, meter.now)
            if repeat is not None:
                repeats.finish(connection, repeat, kept, meter.now)

        if uses or repeat is not None:
            await self._house.groups.run(meter.tenant.account_id, work)
        meter.settled()
        cost = {"x-gigarank-cost-usd": usd(sum(use.amount_micros for use in uses))} if uses else {}
        return replace(answer, body=body, headers={**answer.headers, **cost})

    def _repeat(self, call: Call, content: bytes) -> repeats.Repeat | None:
        given = call.headers.get(repeats.HEADER)
        if given is None or not content:
            return None
        digest = repeats.digest_of(call.path, content)
        holder = f"{self._house.owner}/{token_hex(4)}"  # 40 characters, which is what its column takes
        return repeats.Repeat(tenant_of(call).account_id, repeats.read_name(given), digest, holder)

    async def _whose(self, texts: Sequence[str]) -> Tenant:
        """Of several keys, as some clients send them, the first that is good counts, and else the last one's error."""
        refusal = Unauthorized("no API key: send it as `Authorization: Bearer KEY`, or in x-api-key", param="authorization")
        for text in texts:
            try:
                return await self._house.database.run(self._look_up(text))
            except Unauthorized as error:
                refusal = error
        raise refusal

    def _look_up(self, text: str) -> Work[Tenant]:
        now = self._now()
        return lambda connection: authenticate(connection, self._secrets, text, self._usual, now)

    @property
    def _most_kept(self) -> tuple[int, int]:
        return self._settings.max_body_days, self._settings.max_body_log_bytes

    def _now(self) -> int:
        return int(self._clock())

    @property
    def _house(self) -> House:
        return self._ready().house

    @property
    def _secrets(self) -> Secrets:
        return self._ready().secrets

    def _ready(self) -> _Open:
        if self._opened is None:
            raise DatabaseUnavailable("the server is starting", retry_after=1.0)
        return self._opened
