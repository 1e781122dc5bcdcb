"""What one request costs: its price before it runs, what is held meanwhile, and what is settled or given back.

Knows the backend's seam and the ledger, no HTTP. Invariants: nothing is computed for a tenant before its price is held; when
`close` returns, nothing of the request is held any more, whichever came first, its end or its hold.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from gigarank.engine.work import Prompt, Result, Tier, Work
from gigarank.errors import ClientClosed, GigarankError, ModelNotAllowed, UnknownModel
from gigarank.service.backend import Answered, Embedded, ModelState, QueueState, ScoringBackend, Urgency
from gigarank.service.catalogue.schemas import Retirement, retired
from gigarank.service.credits.prices import price_of
from gigarank.service.credits.schemas import Hold, Price, Use
from gigarank.service.credits.service import release, reserve
from gigarank.service.db import Database
from gigarank.service.group_commit import GroupCommit
from gigarank.service.ids import new_id
from gigarank.service.metering.limits import RateLimiter
from gigarank.service.metering.owed import Owed
from gigarank.service.offered import find_model
from gigarank.service.tenant import Tenant
from gigarank.types import Usage


@dataclass(slots=True)
class House:
    """What all requests of one server share. `owner` names the process in its holds. `retirements`: as the database said a
    moment ago."""

    database: Database
    limiter: RateLimiter
    owner: str
    retirements: Mapping[str, Retirement] = field(default_factory=dict)
    groups: GroupCommit = field(init=False)
    owed: Owed = field(init=False)

    def __post_init__(self) -> None:
        self.groups = GroupCommit(self.database)
        self.owed = Owed(self.database)

    def retirement(self, state: ModelState) -> Retirement | None:
        names = (name.lower() for name in (state.name, state.repository))
        return next((self.retirements[name] for name in names if name in self.retirements), None)


@dataclass(slots=True)
class Bill:
    """One question to the backend. `price` is known once it is asked about. `quoted`: what it costs if all of it is computed;
    `used`: what was."""

    id: str
    model: str
    tier: Tier
    price: Price | None = None
    quoted: Usage | None = None
    used: Usage | None = None
    held: bool = False

    @property
    def quoted_micros(self) -> int:
        return self._cost(self.quoted)

    @property
    def micros(self) -> int:
        return self._cost(self.used)

    def _cost(self, usage: Usage | None) -> int:
        return 0 if usage is None or self.price is None else self.price.of(usage.documents, usage.total_tokens)


class Quoted(Exception):  # noqa: N818 - no error: the way out of a request that asks for its price alone
    def __init__(self, bill: Bill) -> None:
        super().__init__(bill.id)
        self.bill = bill


@dataclass(slots=True)
class Meter:
    """One request's. `now`: Unix seconds. `dry` ends it with Quoted once its price is known. A request of a batch, `batch_id`,
    is of the batch tier whatever it says, and counts in no limit of requests or tokens."""

    house: House
    tenant: Tenant
    now: int
    dry: bool = False
    batch_id: str | None = None
    bills: list[Bill] = field(default_factory=list)
    _closed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def bill(self, model: str, tier: Tier) -> Bill:
        made = Bill(new_id("use"), model, tier)
        self.bills.append(made)
        return made

    def admit(self, bill: Bill, usage: Usage) -> None:
        """On a worker's thread: holds the price of this moment, or raises why not."""
        bill.quoted = usage
        if self.dry:
            self.house.database.call(lambda connection: self._price(connection, bill))
            raise GigarankError("the price is known, and nothing was to be computed")
        tenant = self.tenant
        most: tuple[int | None, int | None] = (None, None)
        if self.batch_id is None:
            self.house.limiter.take_tokens(tenant, usage.total_tokens)
            most = (tenant.account_limits.concurrent_requests, tenant.key_limits.concurrent_requests)

        def work(connection: Connection) -> None:
            self._price(connection, bill)
            whose = (bill.id, tenant.account_id, tenant.key_id)
            hold = Hold(*whose, bill.quoted_micros, self.house.owner, *most, batch_id=self.batch_id)
            reserve(connection, hold, self.now)
            self._hold(bill)

        self.house.groups.call(tenant.account_id, work)

    def _hold(self, bill: Bill) -> None:
        """Before the hold is committed, so that `close` waits for it, or it is rolled back: a hold to be given back afterwards
        would stay where the server's database is closed by then."""
        with self._lock:
            if self._closed:
                raise ClientClosed("the request ended while its price was being held")
            bill.held = True

    async def use(self, bill: Bill, usage: Usage) -> None:
        """`usage` was computed; where that is nothing, nobody had asked for the price."""
        if bill.price is None:
            await self.house.database.run(lambda connection: self._price(connection, bill))
        bill.used = usage

    def _price(self, connection: Connection, bill: Bill) -> None:
        bill.price = price_of(connection, bill.model, bill.tier, self.now)

    def uses(self, request_id: str, route: str, latency_ms: int) -> list[Use]:
        """What is to be settled."""
        return [
            Use(
                bill.id,
                request_id,
                self.tenant.account_id,
                self.tenant.key_id,
                bill.model,
                route,
                bill.tier,
                bill.used.documents,
                bill.used.total_tokens,
                bill.micros,
                bill.price.id,
                latency_ms,
                self.batch_id,
            )
            for bill in self.bills
            if bill.used is not None and bill.price is not None
        ]

    def settled(self) -> None:
        """What was used is paid for, and held no more."""
        for bill in self.bills:
            bill.held = bill.held and bill.used is None

    async def close(self) -> None:
        """Gives back what is held still, as soon as the database answers; nothing where all was settled."""
        with self._lock:
            self._closed = True
            held = [bill.id for bill in self.bills if bill.held]
        for hold_id in held:
            await self.house.owed.give_back(lambda one, hold_id=hold_id: release(one, hold_id, self.tenant.account_id))  # type: ignore[misc]


class MeteredBackend:
    """A ScoringBackend for one request of a tenant: what it computes is on the request's meter."""

    def __init__(self, inner: ScoringBackend, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def models(self) -> Sequence[ModelState]:
        """With the days on which they retire, as far as that is known."""
        states, house = self._inner.models(), self._meter.house
        if not house.retirements:
            return states
        ends = [(state, house.retirement(state)) for state in states]
        return [state if end is None else replace(state, retires=end.at) for state, end in ends]

    def queues(self) -> Sequence[QueueState]:
        return self._inner.queues()

    def ready(self) -> bool:
        return self._inner.ready()

    async def start(self) -> None:
        await self._inner.start()

    async def drain(self, timeout_s: float) -> None:
        await self._inner.drain(timeout_s)

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        if self._meter.batch_id is not None:
            work = replace(work, tier="batch", priority=0, deadline=None)
        bill = self._bill(model, work.tier)
        try:
            result = await self._inner.score(model, replace(work, admit=lambda usage: self._meter.admit(bill, usage)), wait_s)
        except GigarankError:
            self._raise_quoted(bill)
            raise
        await self._meter.use(bill, result.usage)
        return result

    async def embed(
        self, model: str, texts: Sequence[str], *, task: str | None, dimensions: int | None, urgency: Urgency
    ) -> Embedded:
        if self._meter.batch_id is not None:
            urgency = replace(urgency, tier="batch", priority=0, deadline=None)
        bill = self._bill(model, urgency.tier)
        asked = replace(urgency, admit=lambda usage: self._meter.admit(bill, usage))
        try:
            embedded = await self._inner.embed(model, texts, task=task, dimensions=dimensions, urgency=asked)
        except GigarankError:
            self._raise_quoted(bill)
            raise
        await self._meter.use(bill, embedded.usage)
        return embedded

    async def answer(self, model: str, prompts: Sequence[Prompt], urgency: Urgency) -> list[Answered]:
        bill = self._bill(model, urgency.tier)
        asked = replace(urgency, admit=lambda usage: self._meter.admit(bill, usage))
        try:
            answers = await self._inner.answer(model, prompts, asked)
        except GigarankError:
            self._raise_quoted(bill)
            raise
        tokens = sum(answered.prompt_tokens for answered in answers)
        await self._meter.use(bill, Usage(len(answers), 0, tokens, tokens))
        return answers

    def _bill(self, model: str, tier: Tier) -> Bill:
        state = find_model(self.models(), model)
        name = model if state is None else state.name
        retirement = None if state is None else self._meter.house.retirement(state)
        if retirement is not None and retirement.at <= self._meter.now:
            raise UnknownModel(retired(name, retirement), param="model", limit=retirement.instead, received=name)
        allowed = self._meter.tenant.models
        if allowed is not None and state is not None and not {name, *state.aliases, state.repository}.intersection(allowed):
            message = f"model: the API key may not ask {name}; it may ask {', '.join(allowed)}"
            raise ModelNotAllowed(message, param="model", limit=", ".join(allowed), received=name)
        return self._meter.bill(name, tier)

    def _raise_quoted(self, bill: Bill) -> None:
        if self._meter.dry and bill.quoted is not None:
            raise Quoted(bill) from None
