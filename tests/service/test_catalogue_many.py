"""The catalogue where several are at it: operators and accounts at once, tokens, prices, batches, and what is told to whom."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from accounts import NOW, Made
from batching import BODY, Client, Works, described, line
from gigarank.errors import GigarankError, InvalidInput, ObjectNotFound
from gigarank.service.accounts import service as accounts
from gigarank.service.catalogue import repository, service
from gigarank.service.catalogue.schemas import Retirement, State, day_of, retired, specs
from gigarank.service.credits.prices import set_price
from gigarank.service.credits.schemas import Price
from gigarank.service.db import Database
from gigarank.service.mail.service import Post
from gigarank.service.metering.gate import AccountGate
from gigarank.service.offer_tables import model_votes, models
from gigarank.service.settings import Settings
from gigarank.service.tables import outbox

MODEL = "jinaai/jina-reranker-v3"
POST = Post("https://rank.example.org", sends=True)
DAY = 86_400


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path) -> Iterator[Works]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    yield Works(settings, database)


def ask(works: Works, made: Made, model: str = MODEL) -> Any:
    return works.database.transaction(lambda one: service.ask(one, model, made.account_id, NOW))


def move(works: Works, *states: State, model: str = MODEL) -> Any:
    def work(one: Any) -> Any:
        service.propose(one, model, NOW)
        return [service.move(one, model, state, POST, NOW) for state in states][-1]

    return works.database.transaction(work)


def shown(works: Works, model: str = MODEL) -> Any:
    return works.database.transaction(lambda one: service.show(one, model, NOW))


def at_once(*works: Callable[[], Any]) -> list[str]:
    """All of them on threads of their own: the classes of what they raised."""
    raised: list[str] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except GigarankError as error:
            raised.append(type(error).__name__)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    return sorted(raised)


def test_of_two_operators_who_make_a_model_live_one_does_and_each_voter_has_one_letter(works: Works) -> None:
    voters = [works.made, *(works.another(f"v{number}@example.org") for number in range(3))]
    for made in voters:
        ask(works, made)
    move(works, "benchmarking", "onboarding")
    raised = at_once(*[lambda: move(works, "live")] * 4)
    assert raised == ["InvalidInput"] * 3
    letters = works.database.transaction(lambda one: one.execute(select(outbox.c.recipient)).scalars().all())
    assert sorted(letters) == sorted(["a@example.org", *(f"v{number}@example.org" for number in range(3))])


def test_many_who_propose_the_same_at_once_make_one_model_with_all_their_votes(works: Works) -> None:
    voters = [works.another(f"v{number}@example.org") for number in range(8)]
    spellings = (MODEL, MODEL.upper(), MODEL.lower(), MODEL.title())
    assert at_once(*[lambda made=made, n=n: ask(works, made, spellings[n % 4]) for n, made in enumerate(voters)]) == []
    assert works.database.transaction(lambda one: one.execute(select(func.count()).select_from(models)).scalar()) == 1
    assert shown(works)["votes"] == len(voters)


def test_a_vote_that_is_given_and_taken_at_once_ends_as_one_or_none(works: Works) -> None:
    ask(works, works.made)
    account_id = works.made.account_id

    def take_back() -> Any:
        return works.database.transaction(lambda one: service.take_back(one, MODEL, account_id, NOW))

    raised = at_once(*[take_back] * 3, *[lambda: ask(works, works.made)] * 3)
    assert set(raised) <= {"ObjectNotFound"}
    rows = works.database.transaction(lambda one: one.execute(select(model_votes)).all())
    there = works.database.transaction(lambda one: one.execute(select(models)).first()) is not None
    assert len(rows) <= 1
    if rows or there:  # a model that nobody asks for any more is dropped
        assert shown(works)["votes"] == len(rows)


def test_who_is_suspended_or_has_taken_it_back_is_not_told(works: Works) -> None:
    suspended, gone = works.another("s@example.org"), works.another("g@example.org")
    for made in (works.made, suspended, gone):
        ask(works, made)
    works.database.transaction(lambda one: accounts.set_state(one, suspended.account_id, "suspended"))
    works.database.transaction(lambda one: service.take_back(one, MODEL, gone.account_id, NOW))
    assert move(works, "benchmarking", "onboarding", "live")["votes"] == 2
    assert works.database.transaction(lambda one: one.execute(select(outbox.c.recipient)).scalars().all()) == ["a@example.org"]


def test_a_server_that_sends_no_mail_writes_none_down(works: Works) -> None:
    ask(works, works.made)
    move(works, "benchmarking", "onboarding")
    quiet = Post("", sends=False)
    works.database.transaction(lambda one: service.move(one, MODEL, "live", quiet, NOW))
    assert works.database.transaction(lambda one: one.execute(select(outbox)).first()) is None


def test_what_is_retired_can_be_asked_for_again_and_comes_back_with_its_votes(works: Works) -> None:
    move(works, "benchmarking", "onboarding", "live")
    works.database.transaction(lambda one: service.retire(one, MODEL, Retirement(NOW + DAY, "nano"), NOW))
    ended = move(works, "retired")
    assert (ended["state"], ended["retires"], ended["instead"]) == ("retired", "2026-11-26", "nano")
    assert ask(works, works.made)["votes"] == 1
    back = move(works, "proposed")
    assert (back["state"], back["retires"], back["votes"]) == ("proposed", None, 1)
    assert move(works, "benchmarking", "onboarding", "live")["instead"] is None
    assert works.database.transaction(service.retirements) == {}


def test_a_key_needs_the_scope_account_to_ask_and_a_token_of_it_too(works: Works) -> None:
    limited = works.another("l@example.org", scopes=("inference",))

    async def work(client: Client) -> None:
        refused = await Client(client.app, limited.key).post("/v1/catalogue", {"model": MODEL})
        assert (refused.status, refused.error["limit"]) == (403, "account")
        for scopes, status in ((["inference"], 403), (["account"], 200)):
            token = (await client.post("/v1/key/token", {"scopes": scopes})).json["token"]
            assert (await Client(client.app, token).post("/v1/catalogue", {"model": MODEL})).status == status
        for body in ({}, {"model": None}, {"model": 7}, {"model": "x" * 300}, {"model": "no-owner"}):
            reply = await client.post("/v1/catalogue", body)
            assert (reply.status, reply.error["param"]) == (400, "model"), reply.body
        assert (await client.delete("/v1/catalogue/no-owner")).status == 400

    works.do(work)
    assert shown(works)["votes"] == 1


def test_a_live_model_shows_its_price_of_now(works: Works) -> None:
    move(works, "benchmarking", "onboarding", "live")
    assert shown(works)["price"]["price_usd"] == "0.050000"
    own = Price("price_own", MODEL, "default", "documents", 2_000_000, NOW)
    works.database.transaction(lambda one: set_price(one, own))
    works.database.transaction(lambda one: set_price(one, replace(own, id="price_later", micros=1, valid_from=NOW + 1)))
    price = shown(works)["price"]
    assert (price["model"], price["unit"], price["price_usd"]) == (MODEL, "1000 documents", "2.000000")


def test_figures_are_public_and_a_failure_is_too(works: Works) -> None:
    move(works, "benchmarking")
    figure = {"step": "doctor", "at": NOW, "command": ["gigarank", "doctor", MODEL], "result": {"passed": True}}
    works.database.transaction(lambda one: service.note(one, MODEL, None, figure))
    works.database.transaction(lambda one: service.note(one, MODEL, "bench: exit code 1: no memory"))

    async def work(client: Client) -> None:
        told = described(await client.get(f"/v1/catalogue/{MODEL}"), "show_catalogue")
        assert (told["state"], told["reason"]) == ("benchmarking", "bench: exit code 1: no memory")
        assert told["figures"] == [figure]
        assert described(await client.get("/v1/catalogue"), "list_catalogue")["data"] == [told]

    works.do(work)
    with pytest.raises(ObjectNotFound):
        works.database.transaction(lambda one: service.note(one, "a/none", "why"))


def test_a_retired_model_is_refused_on_every_route_and_in_batches(works: Works) -> None:
    """Once its day has come, though the server has it loaded still."""
    move(works, "benchmarking", "onboarding", "live", model="a/x")
    works.database.transaction(lambda one: repository.change(one, "a/x", id="fake", name="fake"))
    works.database.transaction(lambda one: service.retire(one, "fake", Retirement(NOW - 1, None), NOW))
    works.gate = lambda: AccountGate(works.settings, lambda: float(NOW), works.backend, _routes())

    async def work(client: Client) -> None:
        asked: dict[str, Any] = {
            "/v1/rerank": BODY,
            "/v1/score": {"queries": "red", "documents": ["Mars"]},
            "/v1/decisions": {"input": "red", "questions": [{"type": "predicate", "instructions": "is it?"}]},
        }
        for path, body in asked.items():
            reply = await client.post(path, {**body, "model": "nano"})  # an alias of it
            assert (reply.status, reply.error["message"]) == (404, retired("fake", Retirement(NOW - 1, None))), path
        batch = await client.ended((await client.create(line("a")))["id"])
        assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
        (row,) = await client.rows(batch["error_file_id"])
        assert row["response"]["status_code"] == 404

    works.do(work)
    assert works.uses() == []


def _routes() -> Any:
    from gigarank.service.app import ROUTES  # noqa: PLC0415

    return ROUTES


def test_a_request_by_any_name_of_a_model_is_told_what_becomes_of_it(works: Works) -> None:
    ask(works, works.made, "qwen3-reranker-8b")

    def told(name: str) -> str | None:
        return works.database.transaction(lambda one: service.explain(one, name))

    for name in ("8b", "Qwen/Qwen3-Reranker-8B", "qwen3-reranker-8B"):
        assert "qwen3-reranker-8b is not served yet: it is proposed, and 1 ask for it" in str(told(name))
    assert [told(name) for name in ("", "nano", "a/b")] == [None, None, None]
    move(works, "benchmarking", "onboarding", "live", model="qwen3-reranker-8b")
    assert told("8b") is None  # it is live, and another server's


def test_days_and_specs_are_plain() -> None:
    assert (day_of(None), day_of(0), day_of(NOW)) == (None, "1970-01-01", "2026-11-26")
    assert retired("m", Retirement(NOW, "n")) == "model: m is not served since 2026-11-26; ask n instead"
    assert specs("a/b") is None
    found = specs("0.6b")
    assert found is not None and (found["kind"], found["licence"], found["context_tokens"]) == (
        "reranker",
        "Apache-2.0",
        32_768,
    )


def test_a_retirement_needs_a_model_that_is_live(works: Works) -> None:
    for states in ((), ("benchmarking",), ("benchmarking", "onboarding")):
        model = f"a/m{len(states)}"
        works.database.transaction(lambda one: service.propose(one, model, NOW))  # noqa: B023
        if states:
            move(works, *states, model=model)
        with pytest.raises(InvalidInput, match="only what is live has a day") as raised:
            works.database.transaction(lambda one: service.retire(one, model, Retirement(NOW, None), NOW))  # noqa: B023
        assert raised.value.param == "model"


def test_the_most_wanted_come_first_and_then_by_name(works: Works) -> None:
    others = [works.another(f"v{number}@example.org") for number in range(2)]
    for model, voters in (("b/two", others), ("c/none", []), ("a/one", [works.made]), ("a/two", [works.made, others[0]])):
        works.database.transaction(lambda one: service.propose(one, model, NOW))  # noqa: B023
        for made in voters:
            ask(works, made, model)
    listed = works.database.transaction(lambda one: service.page(one, None, None, NOW))
    assert [(one["model"], one["votes"]) for one in listed] == [("a/two", 2), ("b/two", 2), ("a/one", 1), ("c/none", 0)]
    for after in range(4):
        rest = works.database.transaction(lambda one: service.page(one, listed[after]["model"].upper(), 2, NOW))  # noqa: B023
        assert rest == listed[after + 1 : after + 3]
