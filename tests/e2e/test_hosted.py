"""`gigarank serve --accounts` as its own process: an account from the command line, kill -9 under load, backup and restore."""

import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import databases
from houses import COST, House, Server

KILLS = int(os.environ.get("GIGARANK_TEST_KILLS", "3"))  # docs/reliability.md has the figures of 50
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with databases.postgres() as url:
        yield url


@pytest.fixture(params=databases.KINDS)
def house(gigarank_command: list[str], tmp_path: Path, request: pytest.FixtureRequest) -> House:
    """On each kind of database."""
    url = ""
    if request.param == "postgres":
        url = databases.new_database(request.getfixturevalue("postgres"), f"house{next(_NUMBERS)}")
    return House(gigarank_command, tmp_path / "state", url)


@pytest.fixture
def start(house: House) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def run(*more: str) -> Server:
        servers.append(house.serve(*more))
        servers[-1].wait_until_ready()
        return servers[-1]

    yield run
    for server in servers:
        server.end(signal.SIGKILL)


def test_an_account_from_the_command_line_is_served_and_billed(house: House, start: Callable[..., Server]) -> None:
    made = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")
    server = start("--backend", "fake")
    assert server.lines[1] == "access: 0 API keys and those of accounts"
    assert [server.rank(made["api_key"]), server.rank("grk_nobody")] == [200, 401]
    later = house.admin("account", "create", "--email", "b@example.org", "--grant-usd", "0.000002")
    assert [server.rank(later["api_key"]), server.rank(later["api_key"])] == [200, 402]
    assert house.admin("account", "show", "a@example.org")["balance_micros"] == 1_000_000 - COST
    house.admin("account", "suspend", "a@example.org")
    assert server.rank(made["api_key"]) == 403
    assert server.end(signal.SIGTERM) == 0
    assert house.admin("check")["sound"]


def test_accounts_open_a_server_to_other_machines(house: House, start: Callable[..., Server]) -> None:
    assert start("--backend", "fake", "--host", "0.0.0.0").rank("") == 401


def test_a_server_killed_under_load_loses_no_charge_and_charges_none_twice(house: House, start: Callable[..., Server]) -> None:
    """At random moments, while eight clients ask: each answer that came was paid for, and nothing is held after the sweep."""
    key = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"]
    statuses: Counter[int] = Counter()
    dice = random.Random(KILLS)
    for _ in range(KILLS):
        server, stop = start("--backend", "fake:0.01"), threading.Event()

        def ask(server: Server = server, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                statuses[server.rank(key)] += 1

        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(dice.uniform(0.2, 1.2))
        server.end(signal.SIGKILL)
        stop.set()
        for client in clients:
            client.join()
    assert set(statuses) <= {0, 200} and statuses[200]
    ((uses, debits),) = house.rows("SELECT count(*), coalesce(sum(amount_micros), 0) FROM usage")
    assert statuses[200] <= uses <= statuses[200] + KILLS * 8  # those that were settled and whose answer the kill cut off
    assert debits == uses * COST
    assert house.admin("check")["sound"]
    held = house.rows("SELECT count(*) FROM reservations")[0][0]
    assert house.admin("sweep", "--in-seconds", "60")["released"] == held
    account = house.admin("account", "show", "a@example.org")
    assert (account["held_micros"], account["balance_micros"]) == (0, 1_000_000 - debits)


def tool(name: str) -> str:
    """One of PostgreSQL's programs, where its server's are."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")) or [Path(shutil.which(name) or name)]
    return str(found[-1])


def backed_up(house: House, copy: House, file: Path) -> None:
    """As docs/hosting.md says: the database's own backup, and the file of secrets beside it."""
    copy.folder.mkdir()
    if house.url:
        old, new = (url.replace("postgresql+psycopg", "postgresql") for url in (house.url, copy.url))
        subprocess.run([tool("pg_dump"), "-Fc", "-d", old, "-f", file], check=True)
        subprocess.run([tool("pg_restore"), "--no-owner", "-d", new, file], check=True)
    else:
        with sqlite3.connect(house.folder / "gigarank.db") as source, sqlite3.connect(copy.folder / "gigarank.db") as target:
            source.backup(target)
        source.close()
        target.close()
    shutil.copy(house.folder / "key-secrets", copy.folder / "key-secrets")


def test_a_backup_taken_under_load_is_whole(
    house: House, start: Callable[..., Server], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """While four clients ask: whatever moment it is of, the copy adds up, and its keys go on to work."""
    key = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"]
    server, stop = start("--backend", "fake:0.01"), threading.Event()
    statuses: Counter[int] = Counter()

    def ask() -> None:
        while not stop.is_set():
            statuses[server.rank(key)] += 1

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    while statuses[200] < 8:
        assert server.process.poll() is None
    before = statuses[200]
    url = databases.new_database(request.getfixturevalue("postgres"), f"copy{next(_NUMBERS)}") if house.url else ""
    copy = House(house.command, tmp_path / "copy", url)
    backed_up(house, copy, tmp_path / "copy.dump")
    after = statuses[200] + len(clients)
    stop.set()
    for client in clients:
        client.join()
    server.end(signal.SIGTERM)
    assert set(statuses) == {200}
    assert copy.admin("check")["sound"]
    copy.admin("sweep", "--in-seconds", "60")
    account = copy.admin("account", "show", "a@example.org")
    spent = 1_000_000 - account["balance_micros"]
    assert account["held_micros"] == 0 and before * COST <= spent <= after * COST
    assert copy.rows("SELECT count(*) FROM usage") == [(spent // COST,)]
    restored = copy.serve("--backend", "fake")
    restored.wait_until_ready()
    assert [restored.rank(key), restored.rank("grk_nobody")] == [200, 401]
    assert restored.end(signal.SIGTERM) == 0
    assert copy.admin("account", "show", "a@example.org")["balance_micros"] == account["balance_micros"] - COST
    assert copy.admin("check")["sound"]


def test_a_backup_without_its_secrets_knows_no_key_again(
    house: House, start: Callable[..., Server], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"]
    url = databases.new_database(request.getfixturevalue("postgres"), f"copy{next(_NUMBERS)}") if house.url else ""
    copy = House(house.command, tmp_path / "copy", url)
    backed_up(house, copy, tmp_path / "copy.dump")
    (copy.folder / "key-secrets").unlink()
    server = copy.serve("--backend", "fake")
    server.wait_until_ready()
    assert server.rank(key) == 401
    assert server.end(signal.SIGTERM) == 0
    assert copy.admin("check")["sound"]


def test_a_server_without_accounts_loads_no_database() -> None:
    code = (
        "import sys; from gigarank.service.app import create_app; from gigarank.service.fake import FakeBackend; "
        "from gigarank.service.settings import Settings; create_app(Settings(), FakeBackend()); "
        "print([name for name in ('sqlalchemy', 'alembic', 'limits') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
