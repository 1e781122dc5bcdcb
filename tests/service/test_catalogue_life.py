"""The catalogue's life: one vote an account, states and where they lead, who is told, and what is refused."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import select

from accounts import NOW
from asgi import Reply, getting, posting, visit
from batching import BODY, Client, Works, described
from gigarank.errors import AccessDenied, InvalidInput, ObjectNotFound
from gigarank.service.accounts import attempts
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.catalogue import repository, service
from gigarank.service.catalogue.schemas import MOST_VOTES, MOVES, STATES, Retirement, State, read_model, read_state
from gigarank.service.credits import prices
from gigarank.service.credits.schemas import Price
from gigarank.service.db import Database
from gigarank.service.mail.service import Post
from gigarank.service.metering.gate import AccountGate
from gigarank.service.offer_tables import model_votes
from gigarank.service.settings import Settings
from gigarank.service.tables import outbox

MODEL = "BAAI/bge-reranker-v2-m3"
QUIET = Post("https://rank.example.org", sends=False)
LOUD = Post("https://rank.example.org", sends=True)


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path) -> Iterator[Works]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    yield Works(settings, database)


def moved(works: Works, *states: State, model: str = MODEL, post: Post = QUIET) -> Any:
    shown: Any = works.database.transaction(lambda one: service.propose(one, model, NOW))
    for number, state in enumerate(states):
        shown = works.database.transaction(
            lambda one, state=state, number=number: service.move(one, model, state, post, NOW + number)  # type: ignore[misc]
        )
    return shown


TO_LIVE: tuple[State, ...] = ("benchmarking", "onboarding", "live")


async def public(client: Client, path: str = "") -> Reply:
    """Without a key."""
    return await visit(client.app, getting(f"/v1/catalogue{path}"))


async def asks(client: Client, model: str = MODEL) -> Reply:
    return await client.post("/v1/catalogue", {"model": model})


def test_an_account_has_one_vote_and_takes_it_back(works: Works) -> None:
    other = works.another("b@example.org")

    async def work(client: Client) -> None:
        shown = described(await asks(client), "ask_for_model")
        assert (shown["model"], shown["state"], shown["votes"], shown["price"], shown["figures"]) == (
            *(MODEL, "proposed", 1, None, []),
        )
        assert (await asks(client, MODEL.upper())).json["votes"] == 1
        theirs = Client(client.app, other.key)
        assert (await asks(theirs)).json["votes"] == 2
        assert described(await client.delete(f"/v1/catalogue/{MODEL}"), "take_back_vote")["votes"] == 1
        again = await client.delete(f"/v1/catalogue/{MODEL}")
        assert (again.status, again.error["param"]) == (404, "model")
        assert described(await public(client, f"/{MODEL}"), "show_catalogue")["votes"] == 1

    works.do(work)


def test_anybody_sees_the_counts_and_nobody_who_asked(works: Works) -> None:
    async def work(client: Client) -> None:
        await asks(client, "Qwen/Qwen3-Reranker-4B")
        await asks(client)
        await asks(Client(client.app, works.another("b@example.org").key))
        reply = await public(client)
        listed = described(reply, "list_catalogue")["data"]
        assert [(one["model"], one["votes"]) for one in listed] == [(MODEL, 2), ("qwen3-reranker-4b", 1)]
        assert (listed[0]["specs"], listed[1]["specs"]["parameters"]) == (None, 4_021_784_576)
        assert listed[1]["specs"]["shape"]["num_hidden_layers"] == 36
        assert b"acc_" not in reply.body and b"example.org" not in reply.body
        assert (await public(client, "/nobody/asked")).error["code"] == "not_found"
        assert (await visit(client.app, posting({"model": MODEL}, "/v1/catalogue"))).status == 401

    works.do(work)


def test_votes_that_race_count_once(works: Works) -> None:
    ask = lambda: works.database.transaction(lambda one: service.ask(one, MODEL, works.made.account_id, NOW))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert works.database.transaction(lambda one: service.show(one, MODEL, NOW))["votes"] == 1
    assert len(works.database.transaction(lambda one: one.execute(select(model_votes)).all())) == 1


def named(works: Works) -> list[str]:
    return [one["model"] for one in works.database.transaction(lambda one: service.page(one, None, None, NOW))]


def test_what_nobody_asks_for_any_more_is_no_row(works: Works) -> None:
    """But what an operator proposed, or has looked at, stays."""
    account_id = works.made.account_id
    moved(works, model="a/operator-s")
    works.database.transaction(lambda one: service.ask(one, "a/back", account_id, NOW))
    moved(works, "benchmarking", "proposed", model="a/back")
    for model in ("a/operator-s", "a/asked", "a/wanted"):
        works.database.transaction(lambda one, model=model: service.ask(one, model, account_id, NOW))  # type: ignore[misc]
    works.database.transaction(lambda one: service.ask(one, "a/wanted", works.another("b@example.org").account_id, NOW))
    for model in ("a/operator-s", "a/back", "a/wanted"):
        works.database.transaction(lambda one, model=model: service.take_back(one, model, account_id, NOW))  # type: ignore[misc]
    assert named(works) == ["a/asked", "a/wanted", "a/back", "a/operator-s"]
    gone = works.database.transaction(lambda one: service.take_back(one, "a/asked", account_id, NOW))
    assert (gone["model"], gone["votes"]) == ("a/asked", 0)
    assert named(works) == ["a/wanted", "a/back", "a/operator-s"]


def test_an_account_that_is_deleted_takes_what_it_alone_asked_for_along(works: Works) -> None:
    account_id = works.made.account_id
    works.database.transaction(lambda one: service.ask(one, "a/own", account_id, NOW))
    works.database.transaction(lambda one: delete_account(one, QUIET, account_id, NOW))
    assert named(works) == []
    with pytest.raises(AccessDenied, match="the account was deleted"):
        works.database.transaction(lambda one: service.ask(one, "a/late", account_id, NOW))
    assert named(works) == []


def test_who_asks_while_the_last_one_takes_it_back_has_asked(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    other, found = works.another("b@example.org").account_id, repository.lock
    works.database.transaction(lambda one: service.ask(one, MODEL, works.made.account_id, NOW))
    asks = threading.Thread(target=lambda: works.database.transaction(lambda one: service.ask(one, MODEL, other, NOW)))

    def slow(connection: Any, name: str) -> Any:
        row = found(connection, name)
        if asks.ident is None:
            asks.start()
            asks.join(0.5)
        return row

    monkeypatch.setattr(repository, "lock", slow)
    works.database.transaction(lambda one: service.take_back(one, MODEL, works.made.account_id, NOW))
    asks.join()
    assert works.database.transaction(lambda one: service.show(one, MODEL, NOW))["votes"] == 1


def test_the_list_has_pages_and_a_client_so_many_of_them(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attempts._MOST_OF_CLIENT, "look", 5)
    for model in ("a/1", "a/2", "a/3"):
        works.database.transaction(lambda one, model=model: service.propose(one, model, NOW))  # type: ignore[misc]

    async def looks(client: Client, query: str, **headers: str) -> Reply:
        request = getting("/v1/catalogue", **headers)
        request.query = query
        return await visit(client.app, request)

    async def work(client: Client) -> None:
        first = described(await looks(client, "limit=2"), "list_catalogue")
        assert ([one["model"] for one in first["data"]], first["last_id"], first["has_more"]) == (["a/1", "a/2"], "a/2", True)
        rest = described(await looks(client, "after=a/2"), "list_catalogue")
        assert ([one["model"] for one in rest["data"]], rest["has_more"]) == (["a/3"], False)
        for query in ("limit=0", "limit=101", "limit=x"):
            assert (await looks(client, query)).error["param"] == "limit"
        full = await looks(client, "")
        assert (full.status, full.error["code"]) == (429, "rate_limit_exceeded")
        assert (await public(client, "/a/1")).status == 429

    works.do(work)


def test_prices_are_each_model_s_own_or_everybody_s(works: Works) -> None:
    def work(one: Any) -> Any:
        for number, micros in enumerate((10, 20, 90)):
            prices.set_price(one, Price(f"price_{number}", "a/own", "default", "tokens", micros, NOW - 2 + number * 2))
        return prices.prices_of(one, ["a/own", "a/other"], "default", NOW + 1)

    found = works.database.transaction(work)
    assert {model: price.micros for model, price in found.items()} == {"a/own": 20, "a/other": found["a/other"].micros}
    assert found["a/other"].model == "*"
    for model, price in found.items():
        assert price == works.database.transaction(
            lambda one, model=model: prices.price_of(one, model, "default", NOW + 1)  # type: ignore[misc]
        )


WRONG: list[Any] = [None, 7, "", "nobody", "a/b/c", "../x", "a/..b", "a b/c", "x" * 97 + "/y", "a/b--c"]


@pytest.mark.parametrize("given", WRONG, ids=str)
def test_what_is_no_model_s_name_is_refused_with_what_is_expected(given: Any) -> None:
    with pytest.raises(InvalidInput, match="model: OWNER/NAME") as raised:
        read_model(given)
    assert raised.value.param == "model"


def test_names_of_known_models_are_one() -> None:
    for name in ("0.6b", "Qwen/Qwen3-Reranker-0.6B", " QWEN3-reranker-0.6b "):
        assert read_model(name) == "qwen3-reranker-0.6b"
    assert read_model(MODEL) == MODEL
    assert [read_state(state) for state in STATES] == list(STATES)
    with pytest.raises(InvalidInput, match="state: one of proposed, benchmarking"):
        read_state("alive")


def test_an_account_asks_for_so_many_and_no_more(works: Works) -> None:
    def ask(number: int) -> Any:
        return works.database.transaction(lambda one: service.ask(one, f"a/m{number}", works.made.account_id, NOW))

    for number in range(MOST_VOTES):
        ask(number)
    with pytest.raises(InvalidInput, match=f"asks for {MOST_VOTES} models") as raised:
        ask(MOST_VOTES)
    assert raised.value.limit == MOST_VOTES
    assert works.database.transaction(lambda one: repository.find(one, f"a/m{MOST_VOTES}")) is None
    assert ask(0)["votes"] == 1
    works.database.transaction(lambda one: service.take_back(one, "a/m0", works.made.account_id, NOW))
    assert ask(MOST_VOTES)["votes"] == 1


@pytest.mark.parametrize("state", STATES)
def test_a_state_lets_a_model_go_where_it_may_and_nowhere_else(works: Works, state: State) -> None:
    ways: dict[State, tuple[State, ...]] = {
        "proposed": (),
        "benchmarking": TO_LIVE[:1],
        "onboarding": TO_LIVE[:2],
        "live": TO_LIVE,
        "retired": ("retired",),
    }
    for number, wanted in enumerate(STATES):
        model = f"a/m{number}"
        assert moved(works, *ways[state], model=model)["state"] == state
        if wanted in MOVES[state]:
            shown = works.database.transaction(lambda one: service.move(one, model, wanted, QUIET, NOW + 9))  # noqa: B023
            assert (shown["state"], shown["since"]) == (wanted, NOW + 9)
            continue
        with pytest.raises(InvalidInput, match=f"state: {model} is {state}, and may become {', '.join(MOVES[state])}"):
            works.database.transaction(lambda one: service.move(one, model, wanted, QUIET, NOW))  # noqa: B023
    with pytest.raises(ObjectNotFound, match="ask for it with POST /v1/catalogue"):
        works.database.transaction(lambda one: service.move(one, "a/none", "live", QUIET, NOW))


def test_whoever_asked_is_told_once_it_is_live(works: Works) -> None:
    asked = [works.made, works.another("b@example.org")]
    works.another("c@example.org")
    for made in asked:
        works.database.transaction(lambda one: service.ask(one, MODEL, made.account_id, NOW))  # noqa: B023
    works.database.transaction(lambda one: service.ask(one, "a/other", works.made.account_id, NOW))
    moved(works, *TO_LIVE[:2], post=LOUD)

    def letters() -> Sequence[Any]:
        return works.database.transaction(lambda one: one.execute(select(outbox)).mappings().all())

    assert letters() == []
    shown = works.database.transaction(lambda one: service.move(one, MODEL, "live", LOUD, NOW))
    assert shown["price"]["model"] == "*" and shown["reason"] is None
    assert sorted(letter["recipient"] for letter in letters()) == ["a@example.org", "b@example.org"]
    assert letters()[0]["subject"] == f"{MODEL} is served now"
    assert f"https://rank.example.org/v1/catalogue/{MODEL}\n" in letters()[0]["body"]
    with pytest.raises(InvalidInput, match=f"model: {MODEL} is served"):
        works.database.transaction(lambda one: service.ask(one, MODEL, works.made.account_id, NOW))


def test_a_step_s_figure_replaces_the_one_before_and_a_failure_says_why(works: Works) -> None:
    moved(works, "benchmarking")

    def note(reason: str | None, figure: Any = None) -> Any:
        works.database.transaction(lambda one: service.note(one, MODEL, reason, figure))
        return works.database.transaction(lambda one: service.show(one, MODEL, NOW))

    assert note("bench: no memory " + "x" * 600)["reason"].startswith("bench: no memory")
    for value in (1, 2):
        shown = note(None, {"step": "bench", "at": NOW, "result": {"pairs": value}})
    shown = note(None, {"step": "evaluation", "at": NOW, "result": {}})
    assert shown["reason"] is None
    assert [(one["step"], one["result"]) for one in shown["figures"]] == [("bench", {"pairs": 2}), ("evaluation", {})]
    assert moved(works)["figures"] == shown["figures"]


def test_a_model_that_is_not_served_says_what_it_is_and_how_to_vote(works: Works) -> None:
    async def work(client: Client) -> None:
        unknown = await client.post("/v1/rerank", {**BODY, "model": MODEL})
        assert (unknown.status, "make sure the correct model ID was used" in unknown.error["message"]) == (404, True)
        await asks(client)
        for reply in (await client.post("/v1/rerank", {**BODY, "model": MODEL}), await client.get(f"/v1/models/{MODEL}")):
            assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")
            assert f"{MODEL} is not served yet: it is proposed, and 1 ask for it" in reply.error["message"]
            assert "POST /v1/catalogue" in reply.error["message"]
        moved(works, "retired")
        works.database.transaction(lambda one: repository.change(one, MODEL, instead="nano"))
        reply = await client.post("/v1/rerank", {**BODY, "model": MODEL})
        assert f"{MODEL} is not served since 2026-11-26; ask nano instead" in reply.error["message"]

    works.do(work)


def test_a_day_of_retirement_is_shown_before_and_kept_after(works: Works) -> None:
    """`fake` is served, and retires on the next day."""
    moved(works, *TO_LIVE, model="a/fake")
    with pytest.raises(InvalidInput, match="only what is live"):
        works.database.transaction(lambda one: service.propose(one, "a/other", NOW))
        works.database.transaction(lambda one: service.retire(one, "a/other", Retirement(NOW, None), NOW))
    works.database.transaction(lambda one: repository.change(one, "a/fake", id="fake", name="fake"))
    shown = works.database.transaction(lambda one: service.retire(one, "fake", Retirement(NOW + 86_400, "nano"), NOW))
    assert (shown["state"], shown["retires"], shown["instead"]) == ("live", "2026-11-27", "nano")
    clock = [float(NOW)]
    works.gate = lambda: AccountGate(works.settings, lambda: clock[0])

    async def work(client: Client) -> None:
        listed = (await client.get("/v1/models")).json["data"]
        assert [one.get("expiration_date") for one in listed] == ["2026-11-27", None]
        assert (await client.get("/v1/models/fake")).json["expiration_date"] == "2026-11-27"
        assert (await client.post("/v1/rerank", BODY)).status == 200
        clock[0] += 86_400
        reply = await client.post("/v1/rerank", BODY)
        assert (reply.status, reply.error["code"], reply.error["limit"]) == (404, "model_not_found", "nano")
        assert reply.error["message"] == "model: fake is not served since 2026-11-27; ask nano instead"
        assert (await client.post("/v1/embeddings", {"input": "x", "model": "fake-embedder"})).status == 200

    works.do(work)
    assert len(works.uses()) == 2


def test_a_server_without_accounts_has_no_catalogue(works: Works) -> None:
    works.settings = replace(works.settings, accounts=False)

    async def work(client: Client) -> None:
        assert (await public(client)).status == 404
        assert (await client.get("/v1/models")).status == 200

    works.do(work)


def test_every_answer_is_as_the_document_says(works: Works) -> None:
    from gigarank.service.catalogue.response_schemas import ENTRY  # noqa: PLC0415

    for model in ("nano", MODEL):
        jsonschema.validate(moved(works, *TO_LIVE, model=model), ENTRY)
