"""What was used: by day, key and model, one by one, as CSV, for an account and for the operator."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Connection

from accounts import NOW, Made, make_account
from asgi import Reply, Visit, ask_in_turn, getting
from gigarank.cli import app as command
from gigarank.cli import failures
from gigarank.errors import InvalidInput
from gigarank.service import hosted_routes
from gigarank.service.app import create_app
from gigarank.service.credits.schemas import Hold, Use
from gigarank.service.credits.service import audit, reserve, settle
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.ids import new_id
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue
from gigarank.service.metering.gate import AccountGate
from gigarank.service.settings import Settings
from gigarank.service.usage import service
from gigarank.service.usage.repository import Filter
from gigarank.service.usage.schemas import as_csv, read_days, read_groups, read_limit

DAY = 86_400
TODAY = "2026-11-26"


class Books:
    """Two accounts with two keys each, and what they used."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        secrets = open_secrets(settings)
        self.ours, self.theirs = (make_account(database, secrets, email=email) for email in ("a@example.org", "b@example.org"))
        key, text = database.transaction(lambda one: issue(one, secrets, self.ours.account_id, Terms("=1+1"), NOW))
        self.second = Made(self.ours.account_id, key.id, text)
        for made, model, days, tokens in (
            (self.ours, "fake", 0, 100),
            (self.ours, "fake", 0, 200),
            (self.ours, "other", 1, 400),
            (self.second, "fake", 29, 800),
            (self.second, "fake", 30, 1_600),
            (self.theirs, "fake", 0, 3_200),
        ):
            self.use(made, model, NOW - days * DAY, tokens)

    def use(self, made: Made, model: str, now: int, tokens: int) -> None:
        hold = Hold(new_id("use"), made.account_id, made.key_id, tokens, "server")
        use = Use(
            *(hold.id, "req", made.account_id, made.key_id, model, "/v1/rerank", "default", 1, tokens, tokens, "price_default"),
            latency_ms=5,
        )

        def work(connection: Connection) -> None:
            reserve(connection, hold, now)
            settle(connection, use, now)

        self.database.transaction(work)

    def ask(self, *paths: str, key: str = "", **headers: str) -> list[Reply]:
        app = create_app(self.settings, FakeBackend(), gate=AccountGate(self.settings, lambda: NOW))
        return ask_in_turn(app, *(asking(path, key or self.ours.key, **headers) for path in paths))

    def told(self, *paths: str) -> list[Any]:
        """The answers, each as its route describes it."""
        replies = self.ask(*paths)
        for path, reply in zip(paths, replies, strict=True):
            assert reply.status == 200, reply.body
            (route,) = [route for route in hosted_routes.ROUTES if route.path == path.partition("?")[0]]
            jsonschema.validate(reply.json, route.response)
        return [reply.json for reply in replies]


def asking(path: str, key: str, **headers: str) -> Visit:
    path, _, query = path.partition("?")
    request = getting(path, x_api_key=key, **headers)
    request.query = query
    return request


@pytest.fixture
def books(database: Database, database_url: str, tmp_path: Path) -> Iterator[Books]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    yield Books(settings, database)
    assert database.transaction(audit).problems == ()


def test_by_day_key_and_model_over_30_days(books: Books) -> None:
    (told,) = books.told("/v1/usage")
    assert (told["from"], told["to"]) == ("2026-10-28", TODAY)
    rows = [(row["day"], row["key_id"], row["model"], row["requests"], row["tokens"]) for row in told["data"]]
    assert rows == [
        ("2026-10-28", books.second.key_id, "fake", 1, 800),
        ("2026-11-25", books.ours.key_id, "other", 1, 400),
        (TODAY, books.ours.key_id, "fake", 2, 300),
    ]
    assert (told["total"]["requests"], told["total"]["amount_micros"], told["total"]["amount_usd"]) == (4, 1_500, "0.001500")
    assert told["data"][2]["amount_usd"] == "0.000300" and told["data"][0]["key_name"] == "=1+1"


def test_ranges_groups_and_filters(books: Books) -> None:
    wanted = {
        "from=2026-11-26": [300],
        "from=2026-11-25&to=2026-11-25": [400],
        "to=2026-10-27": [1_600],
        "from=2025-11-26&to=2026-11-26&group_by=model": [2_700, 400],
        "group_by=tier": [1_500],
        "group_by=model,day&model=fake": [800, 300],
        f"key_id={books.second.key_id}": [800],
        f"key_id={books.theirs.key_id}": [],  # another account's
    }
    told = books.told(*(f"/v1/usage?{query}" for query in wanted))
    assert [[row["tokens"] for row in one["data"]] for one in told] == list(wanted.values())


def test_what_makes_no_sense_is_said(books: Books) -> None:
    wanted = {
        "from=yesterday": "from: a day as 2026-11-26 is expected; received 'yesterday'",
        "to=2026-02-30": "to: a day as 2026-11-26 is expected; received '2026-02-30'",
        "to=20261126": "to: a day as",
        "from=2026-11-27&to=2026-11-26": "from: 2026-11-27 is after to, 2026-11-26",
        "from=2025-11-25&to=2026-11-26": "from: 2025-11-25 to 2026-11-26 are 367 days; at most 366 at a time",
        "group_by=hour": "group_by: some of day, key, model, tier; received hour",
        "group_by=account": "group_by: some of day, key, model, tier; received account",
        "group_by=": "group_by: some of day, key, model, tier; received none",
        "format=xml": "format: json or csv is expected; received 'xml'",
    }
    for said, reply in zip(wanted.values(), books.ask(*(f"/v1/usage?{query}" for query in wanted)), strict=True):
        assert (reply.status, reply.error["param"]) == (400, said.partition(":")[0])
        assert said in reply.error["message"]


def test_the_first_day_there_is() -> None:
    assert read_days(None, "0001-01-02", NOW) == ("0001-01-01", "0001-01-02")
    assert read_groups(" model , model,day") == ("model", "day")
    assert [read_limit(text, 5, 10) for text in (None, "1", "10")] == [5, 1, 10]
    for text in ("0", "11", "", "٣", "9" * 5_000):
        with pytest.raises(InvalidInput, match="limit: a number from 1 to 10"):
            read_limit(text, 5, 10)


def test_one_by_one_the_newest_first_in_pages(books: Books) -> None:
    (first,) = books.told("/v1/usage/requests?limit=3")
    assert [row["tokens"] for row in first["data"]][2:] == [400] and first["has_more"]
    assert first["data"][0]["created"] == NOW and first["data"][0]["latency_ms"] == 5
    theirs = f"/v1/usage/requests?key_id={books.theirs.key_id}"
    after = f"/v1/usage/requests?limit=3&after={first['last_id']}"
    second, *empty = books.told(after, "/v1/usage/requests?after=use_nothing", theirs)
    assert [row["tokens"] for row in second["data"]] == [800] and not second["has_more"]
    assert [one["data"] for one in empty] == [[], []]
    assert books.ask("/v1/usage/requests?limit=1001")[0].error["param"] == "limit"


def test_csv_is_asked_for_by_header_or_parameter(books: Books) -> None:
    asked = [
        ("/v1/usage", "text/csv", True),
        ("/v1/usage?format=csv", "", True),
        ("/v1/usage?format=json", "text/csv", False),
        ("/v1/usage", "application/json, text/csv", False),
        ("/v1/usage/requests", "text/csv", True),
    ]
    for path, accept, is_csv in asked:
        (reply,) = books.ask(path, accept=accept)
        assert reply.headers["content-type"].startswith("text/csv" if is_csv else "application/json")
        if is_csv:
            assert ".csv" in reply.headers["content-disposition"]
            rows = list(csv.DictReader(io.StringIO(reply.body.decode())))
            assert sum(int(row["tokens"]) for row in rows) == 1_500


def test_no_cell_is_a_formula(books: Books) -> None:
    (row, *_) = csv.DictReader(io.StringIO(books.ask("/v1/usage?format=csv")[0].body.decode()))
    assert row["key_name"] == "'=1+1"
    assert as_csv([{"a": "x,\n", "b": -1}], ["a", "b"]) == b'a,b\r\n"x,\n",-1\r\n'


def test_too_many_rows_are_refused_and_not_cut(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_ROWS", 2)
    with pytest.raises(InvalidInput, match="more than 2 rows"):
        books.database.transaction(lambda one: service.summed(one, Filter("2026-01-01", TODAY), ["day", "key", "model"]))


# The operator's view.


@pytest.fixture
def admin(books: Books, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., str]:
    def type_in(*words: str, code: int = 0) -> str:
        where = ["--state-dir", books.settings.state_dir, "--database-url", books.settings.database_url]
        assert failures.run(command, ["admin", "usage", *words, *where]) == code
        out, err = capfdbinary.readouterr()
        return (err if code else out).decode()

    return type_in


RANGE = ("--from", "2026-10-01", "--to", TODAY)


def tokens_by(rows: Sequence[Any]) -> dict[str, int]:
    return {row["email"]: int(row["tokens"]) for row in rows}


def test_the_operator_sees_all_accounts(admin: Callable[..., str]) -> None:
    told = json.loads(admin(*RANGE, "--group-by", "account", "--json"))
    assert tokens_by(told["usage"]) == {"a@example.org": 3_100, "b@example.org": 3_200}
    assert (told["total"]["tokens"], told["from"]) == (6_300, "2026-10-01")
    table = list(csv.DictReader(io.StringIO(admin(*RANGE, "--group-by", "account", "--csv"), newline="")))
    assert tokens_by(table) == {"a@example.org": 3_100, "b@example.org": 3_200}
    assert "b@example.org\t2026-11-26\tfake\t1\t1\t3200" in admin(*RANGE)


def test_the_operator_asks_for_one_account_or_model(admin: Callable[..., str]) -> None:
    told = json.loads(admin(*RANGE, "--account", "A@example.org", "--model", "other", "--json"))
    assert [row["tokens"] for row in told["usage"]] == [400]


def test_what_is_wrong_is_said_in_a_line(admin: Callable[..., str]) -> None:
    for words, said in (
        (("--json", "--csv"), "--csv: --json prints an object and --csv a table"),
        (("--from", "soon"), "from: a day as 2026-11-26 is expected"),
        (("--account", "c@x"), "account: no account 'c@x'"),
        (("--group-by", "owner"), "group_by: some of account, day, key, model, tier; received owner"),
    ):
        line = admin(*words, code=2)
        assert said in line and line.count("\n") == 1
