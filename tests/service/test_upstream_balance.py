"""Whose question goes to which server: by the tokens on their way, in a fair order, around what fails. No HTTP here."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import pytest

from asgi import run
from gigarank.errors import GigarankError, UpstreamUnavailable, WorkerFailed
from gigarank.service.upstream.balance import BalanceLimits, Balancer, Upstream
from gigarank.service.upstream.client import Fault, Question
from hosting import until


class Server:
    """A client of no server: a question waits until it is answered with what `answers` gives."""

    def __init__(self, name: str, *answers: object) -> None:
        self.name = name
        self.answers = list(answers)
        self.asked: list[Question] = []
        self.gate = asyncio.Event()
        self.gate.set()

    copies = 1

    async def look(self) -> Mapping[str, int]:
        return {"theirs": 512}

    async def try_out(self, model: str, question: Question) -> None:
        """Well."""

    async def close(self) -> None:
        """Nothing is open."""

    async def ask(self, model: str, question: Question) -> list[float]:
        assert model == "theirs"
        self.asked.append(question)
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else [1.0] * question.count
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[return-value]


def of(tokens: int, **body: Any) -> Question:
    return Question(body, 1, tokens)


def balanced(*servers: Server, **limits: Any) -> tuple[Balancer, list[Upstream]]:
    upstreams = [Upstream(server) for server in servers]
    made = Balancer(upstreams, BalanceLimits(**{"pause_s": 0.0, "grace_s": 0.05, **limits}))
    for upstream in upstreams:
        made.found(upstream, {"m": ("theirs", 512)})
    return made, upstreams


def asked(balancer: Balancer, tokens: int, turn: int = 0, *, batch: bool = False, **body: Any) -> asyncio.Task[list[float]]:
    return asyncio.create_task(balancer.ask("m", of(tokens, **body), (batch, 0, turn)))


def in_a_loop(act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run(act())


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_question_goes_to_the_server_with_the_fewest_tokens_on_their_way() -> None:
    async def act() -> None:
        a, b = Server("a"), Server("b")
        balancer, (first, second) = balanced(a, b)
        a.gate.clear()
        b.gate.clear()
        tasks = []
        for tokens in (100, 30, 30, 50, 40):
            tasks.append(asked(balancer, tokens))
            await settled()
        assert [question.tokens for question in a.asked] == [100, 40]
        assert [question.tokens for question in b.asked] == [30, 30, 50]
        a.gate.set()
        b.gate.set()
        await asyncio.gather(*tasks)
        assert (first.tokens, second.tokens) == (0, 0)

    in_a_loop(act)


def test_no_server_has_more_tokens_on_their_way_than_the_limit_but_for_a_single_longer_question() -> None:
    async def act() -> None:
        server = Server("a")
        balancer, (upstream,) = balanced(server, tokens=100)
        server.gate.clear()
        tasks = [asked(balancer, tokens) for tokens in (60, 40, 1, 500)]
        await settled()
        assert [question.tokens for question in server.asked] == [60, 40]
        server.gate.set()
        await asyncio.gather(*tasks)
        assert [question.tokens for question in server.asked] == [60, 40, 1, 500]
        assert upstream.tokens == 0

    in_a_loop(act)


def order_of(server: Server) -> list[str]:
    return [question.body["who"] for question in server.asked]


def test_what_waits_goes_by_tier_priority_and_a_fair_order() -> None:
    """A small request that comes while a large one waits begins where that one has come to, not behind its end."""

    async def act() -> None:
        server = Server("a")
        balancer, _ = balanced(server, tokens=10)
        server.gate.clear()
        tasks = [asked(balancer, 10, turn, who=f"large {turn}") for turn in (0, 10, 20, 30)]
        tasks.append(asked(balancer, 10, 0, who="batch", batch=True))
        await settled()
        tasks.append(asked(balancer, 10, balancer.start_of("m"), who="small"))
        tasks.append(asyncio.create_task(balancer.ask("m", of(10, who="urgent"), (False, -5, 90))))
        server.gate.set()
        await asyncio.gather(*tasks)
        assert order_of(server) == ["large 0", "urgent", "small", "large 10", "large 20", "large 30", "batch"]
        assert balancer.start_of("m") == 90

    in_a_loop(act)


def test_a_fault_is_asked_elsewhere_and_the_answer_counts_once() -> None:
    async def act() -> None:
        bad, good = Server("bad", Fault("bad is broken")), Server("good", [2.5])
        balancer, (broken, whole) = balanced(bad, good)
        assert await balancer.ask("m", of(9), (False, 0, 0)) == [2.5]
        assert (len(bad.asked), len(good.asked)) == (1, 1)
        assert (broken.failures, whole.failures, broken.tokens, whole.tokens) == (1, 0, 0, 0)

    in_a_loop(act)


def test_a_lone_server_is_asked_again_and_an_answer_ends_the_row_of_failures() -> None:
    async def act() -> None:
        server = Server("a", Fault("x"), Fault("x"))
        balancer, (upstream,) = balanced(server)
        assert await balancer.ask("m", of(9), (False, 0, 0)) == [1.0]
        assert (len(server.asked), upstream.failures, upstream.up) == (3, 0, True)

    in_a_loop(act)


def failing(balancer: Balancer) -> Awaitable[str]:
    async def work() -> str:
        with pytest.raises(UpstreamUnavailable) as caught:
            await balancer.ask("m", of(9), (False, 0, 0))
        assert caught.value.retry_after == 2.0
        return caught.value.message

    return work()


def test_after_all_tries_the_last_fault_is_told() -> None:
    async def act() -> None:
        balancer, _ = balanced(Server("a", Fault("a burns")), Server("b", Fault("b hangs")), Server("c", Fault("c lies")))
        assert "of which 3 were asked in turn; c lies" in await failing(balancer)

    in_a_loop(act)


def test_three_faults_in_a_row_end_a_server_until_it_is_found_again() -> None:
    async def act() -> None:
        server = Server("a", *[Fault("a is out of memory")] * 3)
        balancer, (upstream,) = balanced(server)
        assert "a is out of memory" in await failing(balancer)
        assert not upstream.up and not balancer.serves("m")
        assert "none answers: a: a is out of memory" in await failing(balancer)
        assert len(server.asked) == 3  # nothing more came
        balancer.found(upstream, {"m": ("theirs", 512)})
        assert await balancer.ask("m", of(9), (False, 0, 0)) == [1.0]

    in_a_loop(act)


def test_what_waits_for_a_server_that_comes_back_is_answered() -> None:
    async def act() -> None:
        server = Server("a")
        balancer, (upstream,) = balanced(server, grace_s=20.0)
        balancer.failed(upstream, "restarted")
        task = asked(balancer, 9)
        await settled()
        assert not server.asked
        balancer.found(upstream, {"m": ("theirs", 512)})
        assert await task == [1.0]

    in_a_loop(act)


def test_a_busy_server_is_not_a_failing_one() -> None:
    async def act() -> None:
        server = Server("a", *[Fault("busy", busy=True)] * 3)
        balancer, (upstream,) = balanced(server)
        await failing(balancer)
        assert upstream.up and upstream.failures == 0

    in_a_loop(act)


def test_a_refusal_is_not_tried_elsewhere() -> None:
    async def act() -> None:
        refusing, other = Server("a", WorkerFailed("400")), Server("b")
        balancer, (upstream, _) = balanced(refusing, other)
        with pytest.raises(WorkerFailed):
            await balancer.ask("m", of(9), (False, 0, 0))
        assert not other.asked and upstream.failures == 0 and upstream.tokens == 0

    in_a_loop(act)


def test_numbers_that_are_none_are_asked_elsewhere_and_put_their_server_in_doubt() -> None:
    async def act() -> None:
        sick, well = Server("a", [math.nan]), Server("b", [0.5])
        balancer, (doubted, sure) = balanced(sick, well)
        assert await balancer.ask("m", of(9), (False, 0, 0)) == [0.5]
        assert doubted.doubted and doubted.up and not sure.doubted
        balancer.found(doubted, doubted.models)
        assert not doubted.doubted

    in_a_loop(act)


def test_numbers_that_are_none_everywhere_are_the_answer() -> None:
    """The text's fault, then: its documents fail, and no server is given up."""

    async def act() -> None:
        balancer, upstreams = balanced(Server("a", *[[math.nan]] * 3))
        (number,) = await balancer.ask("m", of(9), (False, 0, 0))
        assert math.isnan(number)
        assert upstreams[0].up and upstreams[0].failures == 0

    in_a_loop(act)


def test_what_is_taken_back_leaves_no_tokens_behind_wherever_it_was() -> None:
    async def act() -> None:
        server = Server("a")
        balancer, (upstream,) = balanced(server, tokens=10)
        server.gate.clear()
        running, waiting, last = asked(balancer, 10), asked(balancer, 10), asked(balancer, 10, who="last")
        await settled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert upstream.tokens == 10
        running.cancel()
        await settled()
        assert order_of_last(server) == "last" and upstream.tokens == 10
        server.gate.set()
        assert await last == [1.0]
        assert upstream.tokens == 0

    in_a_loop(act)


def order_of_last(server: Server) -> str | None:
    who: str | None = server.asked[-1].body.get("who")
    return who


def test_one_that_is_cancelled_in_the_moment_of_its_turn_gives_its_place_back() -> None:
    async def act() -> None:
        server = Server("a")
        balancer, (upstream,) = balanced(server, tokens=10)
        server.gate.clear()
        first, second = asked(balancer, 10), asked(balancer, 10)
        await settled()
        balancer.failed(upstream, "x")
        balancer.found(upstream, upstream.models)
        server.gate.set()
        while second not in (done := {task for task in (first, second) if task.done()}) and upstream.tokens == 10 and not done:
            await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        assert upstream.tokens == 0

    in_a_loop(act)


def test_a_model_that_a_server_has_lost_is_asked_elsewhere() -> None:
    async def act() -> None:
        a, b = Server("a"), Server("b")
        balancer, (first, _) = balanced(a, b)
        task = asked(balancer, 9)
        await asyncio.sleep(0)
        balancer.found(first, {"other": ("theirs", 512)})
        assert await task == [1.0]
        assert not a.asked or not b.asked
        assert first.up and balancer.longest("m") == 512

    in_a_loop(act)


def test_the_longest_prompt_is_the_one_that_every_server_takes() -> None:
    async def act() -> None:
        balancer, (first, second) = balanced(Server("a"), Server("b"))
        balancer.found(first, {"m": ("theirs", 4_096)})
        assert balancer.longest("m") == 512
        balancer.found(second, {"m": ("theirs", 0)})
        assert balancer.longest("m") == 4_096
        balancer.failed(first, "gone")
        assert balancer.longest("m") == 0

    in_a_loop(act)


def test_every_question_of_many_ends_once_whatever_its_servers_do() -> None:
    """A hundred questions, servers that fail one in three, one that comes and goes: an answer or an error each."""

    async def act() -> None:
        answers: Sequence[object] = [Fault("x"), [1.0], [1.0]] * 200
        servers = [Server(str(n), *answers) for n in range(3)]
        balancer, upstreams = balanced(*servers, tokens=50, failures=2, tries=5, grace_s=0.5)
        tasks = [asked(balancer, 7 + n % 5, n) for n in range(100)]

        async def reviving() -> None:
            while not all(task.done() for task in tasks):
                for upstream in upstreams:
                    if not upstream.up:
                        balancer.found(upstream, {"m": ("theirs", 512)})
                await asyncio.sleep(0)

        await asyncio.gather(reviving(), until(lambda: all(task.done() for task in tasks)))
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one == [1.0] or isinstance(one, GigarankError) for one in ended)
        assert sum(one == [1.0] for one in ended) > 90
        assert [upstream.tokens for upstream in upstreams] == [0, 0, 0]

    in_a_loop(act)
