"""Limits of several servers at one database: one count of all of them in Redis, and a word where each has its own."""

import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import databases
from houses import House, Server
from redis_server import redis_server

A_MINUTE, ASKED = 12, 40
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with databases.postgres() as url:
        yield url


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def house(gigarank_command: list[str], tmp_path: Path, postgres: str) -> House:
    url = databases.new_database(postgres, f"limits{next(_NUMBERS)}")
    return House(gigarank_command, tmp_path / "state", url)


def let_in(house: House, servers: list[Server], *more: str) -> Counter[int]:
    """What two servers answer when one key asks both at once, again and again: how often each status came."""
    key = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"]
    servers.extend(house.serve("--backend", "fake", "--log-level", "warning", *more) for _ in range(2))
    for server in servers:
        server.wait_until_ready()
    second = time.time() % 60
    if second > 45:
        time.sleep(60.1 - second)  # a minute that ends meanwhile slides, and lets another one in
    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(lambda number: servers[number % 2].rank(key), range(ASKED)))


def warned(servers: list[Server]) -> list[int]:
    """How many lines of each server's log say that it counts alone."""
    return [sum("rate_limit_url is memory://" in line for line in server.lines) for server in servers]


def test_a_limit_is_one_of_all_servers_that_count_in_one_redis(house: House, servers: list[Server], redis_url: str) -> None:
    limit = ("--requests-per-minute", str(A_MINUTE), "--rate-limit-url", redis_url)
    statuses = let_in(house, servers, *limit)
    assert statuses == {200: A_MINUTE, 429: ASKED - A_MINUTE}
    assert house.rows("SELECT count(*) FROM usage") == [(A_MINUTE,)]
    for server in servers:
        server.end(signal.SIGTERM)
    assert warned(servers) == [0, 0]


def test_servers_that_count_in_memory_say_that_each_counts_alone(house: House, servers: list[Server]) -> None:
    statuses = let_in(house, servers, "--requests-per-minute", str(A_MINUTE))
    assert statuses == {200: 2 * A_MINUTE, 429: ASKED - 2 * A_MINUTE}
    for server in servers:
        server.end(signal.SIGTERM)
    assert warned(servers) == [1, 1]
