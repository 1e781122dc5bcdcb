"""/v1/operator: what operators see of all accounts. Each route asks for the role."""

from dataclasses import asdict

from gigarank.service import standing
from gigarank.service.accounts import repository, service
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.backend import ModelState, QueueState, ScoringBackend
from gigarank.service.call import Answer
from gigarank.service.http.metrics import Counts, ModelCounts
from gigarank.service.usage.schemas import read_limit
from gigarank.types import JsonObject

_USUAL, _MOST = 100, 1_000


async def list_accounts(office: Office, guest: Guest) -> Answer:
    query = guest.call.query
    limit, after = read_limit(query.get("limit"), _USUAL, _MOST), query.get("after", "")
    found = await office.desk.database.run(lambda one: repository.page(one, after, limit + 1))
    rows = [account.shown() for account in found[:limit]]
    last = rows[-1]["account_id"] if rows else None
    return Answer({"object": "list", "data": rows, "last_id": last, "has_more": len(found) > limit})


async def show_account(office: Office, guest: Guest) -> Answer:
    name = guest.call.parameters["account_id"]
    return Answer((await office.desk.database.run(lambda one: service.find(one, name))).shown())


async def show_queues(office: Office, guest: Guest) -> Answer:
    """What waits at this moment, and how full the batches were since the models were loaded."""
    batches = await office.desk.database.run(standing.open_batches)
    return Answer(
        {
            "object": "queues",
            "at": office.now,
            "models": _models(guest.call.backend),
            "batches": [asdict(one) for one in batches],
        }
    )


def _models(backend: ScoringBackend) -> list[JsonObject]:
    counts = backend.counters() if isinstance(backend, Counts) else {}
    waiting = {queue.model: queue for queue in backend.queues()}
    return [_model(state, waiting.get(state.name), counts.get(state.name)) for state in backend.models()]


def _model(state: ModelState, queue: QueueState | None, counts: ModelCounts | None) -> JsonObject:
    """`batch_tokens` of `batch_room_tokens` is how full its batches were; two answers tell how full those between them were."""
    worker = None if counts is None else counts.worker
    return {
        "model": state.name,
        "state": state.state,
        "waiting_requests": queue.waiting_requests if queue else 0,
        "waiting_pairs": queue.waiting_pairs if queue else 0,
        "waiting_tokens": queue.waiting_tokens if queue else 0,
        "batch_tokens": worker.tokens if worker else 0,
        "batch_room_tokens": worker.room_tokens if worker else 0,
        "filled": standing.filled(worker),
    }
