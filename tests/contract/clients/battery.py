"""What every client is tried with, run inside the client's own environment: standard library only.

A client is a function that ranks with the package as its users do, and a table of what the package makes of refusals. What is
right is taken from the server itself, asked plainly for one document at a time: a client's order and scores must be those.
Prints one JSON line for every check: {"client", "check", "error"}; `error` is null where it went well.
"""

import json
import os
import re
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace

URL = os.environ["GIGARANK_URL"]
KEY = os.environ["GIGARANK_API_KEY"]
MODEL = os.environ["GIGARANK_MODEL"]
TOLERANCE = float(os.environ.get("GIGARANK_TOLERANCE", "1e-6"))
ONLY = os.environ.get("GIGARANK_CHECKS", "").split()

QUERY = "which red planet"
TEXTS = [
    "Venus is hot.",
    "Mars is a red planet , which has two moons",
    "the red sea",
    "which one — 火星 or Vénus — is a planet",
    "",
]
DOCUMENTS = TEXTS[:4]
INSTRUCTION = "Find passages about moons or Venus is hot."
BUSY_S = 0.3  # the Retry-After of a server that is made busy


@dataclass(frozen=True)
class Ask:
    query: str = QUERY
    documents: tuple[str, ...] = tuple(DOCUMENTS)
    top_n: int | None = None
    instruction: str | None = None
    model: str = MODEL
    key: str = KEY


Ranked = list[tuple[int, float]]
Rank = Callable[[Ask], Ranked]
Refusal = tuple[type[BaseException], str]
"""The class that the client raises, and what its text must match."""


@dataclass(frozen=True)
class Client:
    """`score`: the field of a plain answer that the client's score must equal. `refusals`: key, model, many. `retries`: the
    statuses after which the client tries again by itself, having waited as long as the server asked."""

    name: str
    rank: Rank
    score: str = "relevance_score"
    top_n: bool = True
    instruction: bool = False
    refusals: dict[str, Refusal] = field(default_factory=dict)
    retries: tuple[int, ...] = ()
    wait_s: float = BUSY_S


def plain(path: str, body: dict, key: str = KEY) -> dict:
    request = urllib.request.Request(f"{URL}{path}", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def alone(ask: Ask, score: str) -> Ranked:
    """Every document's score, asked for alone, best first; ties in the order of the request."""
    found = []
    for index, document in enumerate(ask.documents):
        body = {"model": ask.model, "query": ask.query, "documents": [document]}
        if ask.instruction is not None:
            body["instruction"] = ask.instruction
        (result,) = plain("/v1/rerank", body)["results"]
        found.append((index, result["logit"], result[score]))
    return [(index, value) for index, _, value in sorted(found, key=lambda each: -each[1])]


def equal(got: Ranked, wanted: Ranked) -> None:
    assert [index for index, _ in got] == [index for index, _ in wanted], f"order {got}, not {wanted}"
    for (index, score), (_, right) in zip(got, wanted, strict=True):
        assert abs(score - right) <= TOLERANCE, f"document {index}: {score}, not {right}"


def ranks(client: Client) -> None:
    equal(client.rank(Ask()), alone(Ask(), client.score))


def only_the_best(client: Client) -> None:
    equal(client.rank(Ask(top_n=2)), alone(Ask(), client.score)[:2])


def instructs(client: Client) -> None:
    wanted = alone(Ask(instruction=INSTRUCTION), client.score)
    assert wanted != alone(Ask(), client.score), "the instruction makes no difference, so that this shows nothing"
    equal(client.rank(Ask(instruction=INSTRUCTION)), wanted)


def refuses(client: Client, what: str) -> None:
    asks = {
        "key": replace(Ask(), key="gr-not-a-key"),
        "model": replace(Ask(), model="no-such-model"),
        "many": replace(Ask(), documents=("x",) * 1_001),
        "empty": replace(Ask(), query=" "),
    }
    kind, text = client.refusals[what]
    try:
        got = client.rank(asks[what])
    except kind as error:
        assert re.search(text, f"{error} {getattr(error, 'body', '')}", re.S), f"{error!r} does not say {text!r}"
    else:
        raise AssertionError(f"answered: {str(got)[:200]}")


def comes_back(client: Client, status: int) -> None:
    ask = Ask(query=f"{QUERY} busy-{status}-{time.monotonic_ns()}")
    before = time.monotonic()
    got = client.rank(ask)
    waited = time.monotonic() - before
    equal(got, alone(ask, client.score))
    assert waited >= client.wait_s * 0.9, f"came back after {waited:.3f} s, before it was told to"


def checks_of(client: Client) -> dict[str, Callable[[], None]]:
    found: dict[str, Callable[[], None]] = {"ranks": lambda: ranks(client)}
    if client.top_n:
        found["top_n"] = lambda: only_the_best(client)
    if client.instruction:
        found["instruction"] = lambda: instructs(client)
    for what in client.refusals:
        found[f"refused: {what}"] = lambda what=what: refuses(client, what)
    for status in client.retries:
        found[f"retries {status}"] = lambda status=status: comes_back(client, status)
    return found


def run(clients: list[Client], further: dict[tuple[str, str], Callable[[], None]] | None = None) -> None:
    """`further`: (client, check) and the check itself."""
    checks = {(client.name, name): check for client in clients for name, check in checks_of(client).items()} | (further or {})
    for (client, name), check in checks.items():
        if ONLY and name not in ONLY:
            continue
        started, error = time.monotonic(), None
        try:
            check()
        except BaseException as raised:  # noqa: BLE001  # a check may end in anything, and the next one still runs
            where = traceback.extract_tb(raised.__traceback__)[-1]
            error = f"{type(raised).__name__}: {raised} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
        line = {"client": client, "check": name, "error": error, "seconds": round(time.monotonic() - started, 2)}
        print(json.dumps(line), flush=True)
    sys.exit(0)
