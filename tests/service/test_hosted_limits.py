"""Limits a minute: counted in memory and in a real Redis, for account and key, and told as OpenAI tells them."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gigarank.errors import DatabaseUnavailable, InvalidInput, RateLimited, RequestTooLarge
from gigarank.service.metering import limits
from gigarank.service.metering.limits import Memory, RateLimiter, duration
from gigarank.service.tenant import Limits, Tenant
from redis_server import redis_server


def tenant(
    account: Limits | None = None, key: Limits | None = None, account_id: str = "acc_1", key_id: str = "key_1"
) -> Tenant:
    return Tenant(account_id, key_id, ("inference",), None, account or Limits(), key or Limits())


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
def names(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An account and a key that no other test counts."""
    return f"acc_{request.node.name}", f"key_{request.node.name}"


def enter(limiter: RateLimiter, one: Tenant) -> None:
    asyncio.run(limiter.enter(one))


def headers(limiter: RateLimiter, one: Tenant) -> dict[str, str]:
    return asyncio.run(limiter.headers(one))


def test_without_limits_nothing_is_counted_and_nothing_told(url: str, names: tuple[str, str]) -> None:
    limiter, free = RateLimiter(url), tenant(None, None, *names)
    for _ in range(50):
        enter(limiter, free)
        limiter.take_tokens(free, 10**9)
    assert headers(limiter, free) == {}


def test_a_request_too_many_is_refused_with_what_and_when(url: str, names: tuple[str, str]) -> None:
    limiter, one = RateLimiter(url), tenant(Limits(requests_per_minute=2), None, *names)
    enter(limiter, one)
    enter(limiter, one)
    with pytest.raises(RateLimited, match="requests_per_minute: 2 for this account, of which 0 are left") as refused:
        enter(limiter, one)
    assert (refused.value.param, refused.value.limit) == ("requests_per_minute", 2)
    assert 0 < refused.value.retry_after <= 60


def test_a_key_s_limit_is_its_own(url: str, names: tuple[str, str]) -> None:
    account, key = names
    limiter = RateLimiter(url)
    first = tenant(Limits(requests_per_minute=3), Limits(requests_per_minute=1), account, key)
    second = tenant(Limits(requests_per_minute=3), Limits(requests_per_minute=5), account, key + "_other")
    enter(limiter, first)
    with pytest.raises(RateLimited, match="1 for this API key"):
        enter(limiter, first)
    for _ in range(2):
        enter(limiter, second)
    with pytest.raises(RateLimited, match="3 for this account"):
        enter(limiter, second)


def test_a_key_that_is_hammered_takes_nothing_of_the_account_s_minute(url: str, names: tuple[str, str]) -> None:
    account, key = names
    limiter, whole = RateLimiter(url), Limits(requests_per_minute=5, tokens_per_minute=100)
    narrow = tenant(whole, Limits(requests_per_minute=1, tokens_per_minute=10), account, key)
    other = tenant(whole, None, account, key + "_other")
    enter(limiter, narrow)
    limiter.take_tokens(narrow, 10)
    for _ in range(20):
        with pytest.raises(RateLimited, match="1 for this API key"):
            enter(limiter, narrow)
        with pytest.raises(RateLimited, match="10 for this API key"):
            limiter.take_tokens(narrow, 9)
        with pytest.raises(RequestTooLarge, match="11 tokens, the API key may ask 10 a minute"):
            limiter.take_tokens(narrow, 11)
    told = headers(limiter, other)
    assert (told["x-ratelimit-remaining-requests"], told["x-ratelimit-remaining-tokens"]) == ("4", "90")
    for _ in range(4):
        enter(limiter, other)
    limiter.take_tokens(other, 90)


def test_an_account_that_is_full_takes_nothing_of_a_key_s_minute(url: str, names: tuple[str, str]) -> None:
    account, key = names
    limiter, whole = RateLimiter(url), Limits(requests_per_minute=2, tokens_per_minute=10)
    for _ in range(2):
        enter(limiter, tenant(whole, None, account, key + "_other"))
    limiter.take_tokens(tenant(whole, None, account, key + "_other"), 8)
    mine = Limits(requests_per_minute=3, tokens_per_minute=9)
    for _ in range(5):
        with pytest.raises(RateLimited, match="2 for this account, of which 0 are left"):
            enter(limiter, tenant(whole, mine, account, key))
        with pytest.raises(RateLimited, match="10 for this account, of which 2 are left"):
            limiter.take_tokens(tenant(whole, mine, account, key), 3)
    told = headers(limiter, tenant(None, mine, account, key))
    assert (told["x-ratelimit-remaining-requests"], told["x-ratelimit-remaining-tokens"]) == ("3", "9")


def test_tokens_count_as_many_as_they_are(url: str, names: tuple[str, str]) -> None:
    limiter, one = RateLimiter(url), tenant(Limits(tokens_per_minute=1_000), None, *names)
    limiter.take_tokens(one, 600)
    with pytest.raises(RateLimited, match="tokens_per_minute: 1000 for this account, of which 400 are left"):
        limiter.take_tokens(one, 401)
    limiter.take_tokens(one, 400)
    with pytest.raises(RequestTooLarge, match="this request has 1001 tokens, the account may ask 1000 a minute"):
        limiter.take_tokens(one, 1_001)


def test_the_headers_are_those_of_the_nearest_limit(url: str, names: tuple[str, str]) -> None:
    limiter = RateLimiter(url)
    one = tenant(Limits(requests_per_minute=100, tokens_per_minute=1_000), Limits(requests_per_minute=5), *names)
    enter(limiter, one)
    limiter.take_tokens(one, 250)
    told = headers(limiter, one)
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("5", "4")
    assert (told["x-ratelimit-limit-tokens"], told["x-ratelimit-remaining-tokens"]) == ("1000", "750")
    for unit in ("requests", "tokens"):
        assert told[f"x-ratelimit-reset-{unit}"][-1] == "s"


def test_accounts_do_not_share(url: str, names: tuple[str, str]) -> None:
    limiter, limits = RateLimiter(url), Limits(requests_per_minute=1)
    enter(limiter, tenant(limits, None, names[0], names[1]))
    enter(limiter, tenant(limits, None, names[0] + "_2", names[1]))
    with pytest.raises(RateLimited):
        enter(limiter, tenant(limits, None, names[0], names[1] + "_2"))


def test_attempts_are_counted_by_what_and_whom(url: str, names: tuple[str, str]) -> None:
    limiter = RateLimiter(url)

    def attempt(what: str, name: str) -> None:
        asyncio.run(limiter.attempt(what, "client", name, 2, 15))

    attempt("sign_in", names[0])
    attempt("sign_in", names[0])
    with pytest.raises(RateLimited, match="too many attempts: 2 in 15 minutes for one client") as refused:
        attempt("sign_in", names[0])
    assert (refused.value.param, refused.value.limit) == ("client", 2) and 1 <= refused.value.retry_after <= 900
    attempt("mail", names[0])
    attempt("sign_in", names[1])


def test_servers_that_share_redis_count_together(redis_url: str, names: tuple[str, str]) -> None:
    first, second = RateLimiter(redis_url), RateLimiter(redis_url)
    one = tenant(Limits(requests_per_minute=2), None, *names)
    enter(first, one)
    enter(second, one)
    for limiter in (first, second):
        with pytest.raises(RateLimited):
            enter(limiter, one)


def test_a_redis_that_is_not_there_is_503(tmp_path: Path) -> None:
    limiter = RateLimiter(f"redis+unix://{tmp_path}/nobody")
    one = tenant(Limits(requests_per_minute=2))
    with pytest.raises(DatabaseUnavailable, match="rate_limit_url does not answer"):
        enter(limiter, one)
    with pytest.raises(DatabaseUnavailable):
        headers(limiter, one)


def test_a_limiter_that_opens_lets_requests_in_uncounted_and_no_password(tmp_path: Path) -> None:
    limiter = RateLimiter(f"redis+unix://{tmp_path}/nobody", opens=True)
    one = tenant(Limits(requests_per_minute=1, tokens_per_minute=10))
    enter(limiter, one)
    enter(limiter, one)
    limiter.take_tokens(one, 5)
    with pytest.raises(RequestTooLarge):
        limiter.take_tokens(one, 11)
    with pytest.raises(DatabaseUnavailable):
        asyncio.run(limiter.attempt("sign_in", "address", "a@example.org", 10, 15))


def test_a_redis_that_hangs_is_waited_for_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes connections and says nothing: a second, and then nobody waits for another one."""
    monkeypatch.setattr(limits, "_ANSWER_S", 0.2)
    tries: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "s"))
        hanging.listen()
        limiter = RateLimiter(f"redis+unix://{tmp_path}/s")
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                enter(limiter, tenant(Limits(requests_per_minute=2)))
        hanging.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while True:
                tries.append(hanging.accept()[0])
    for one in tries:
        one.close()
    assert 1 <= len(tries) <= 2  # one try, and once more


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://localhost"])
def test_a_place_that_cannot_count_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="rate_limit_url: memory:// or redis://HOST:PORT/NUMBER is expected"):
        RateLimiter(url)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1.0, "0ms"),
        (0.0, "0ms"),
        (0.0121, "13ms"),
        (0.5, "500ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (59.999, "59.999s"),
        (60.0, "1m0s"),
        (360.0, "6m0s"),
        (61.25, "1m1.25s"),
    ],
)
def test_durations_are_go_s(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_counting_in_memory_starts_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = RateLimiter("memory://")
    time.sleep(0.1)  # the library's first one has ended
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
    for _ in range(3):
        enter(limiter, tenant(Limits(100), Limits(100)))
    assert started == []
    assert headers(limiter, tenant(Limits(100)))["x-ratelimit-remaining-requests"] == "97"


def test_what_is_over_is_forgotten_while_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: now[0]))
    counts = Memory()
    for number in range(1_000):
        counts.incr(f"account {number}", 60.0)
    counts.incr("lasts", 120.0)
    assert len(counts.storage) == len(counts.expirations) == 1_001
    now[0] += 60.0
    for _ in range(1_000):
        counts.incr("lasts", 120.0)
    assert dict(counts.storage) == {"lasts": 1_001} and list(counts.expirations) == list(counts.locks) == ["lasts"]
