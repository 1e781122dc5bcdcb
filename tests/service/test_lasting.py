"""Work that lasts: what fails of it is logged with its place, and only a cancellation gets out."""

import asyncio

import pytest

from asgi import run
from gigarank.errors import DatabaseUnavailable, InsufficientCredit
from gigarank.service.lasting import attempt, whole


async def failing(error: BaseException) -> None:
    raise error


def test_what_works_is_true_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert run(attempt("a thing", asyncio.sleep(0, "whatever it gives")))
    assert caplog.text == ""


def test_a_defect_is_false_and_said_with_its_place_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    assert not run(attempt("a thing", failing(KeyError("a text that nobody may read"))))
    assert "a thing failed, at KeyError at test_lasting.py" in caplog.text and "nobody" not in caplog.text


def test_what_is_usual_needs_no_word(caplog: pytest.LogCaptureFixture) -> None:
    assert not run(attempt("a thing", failing(DatabaseUnavailable("away", retry_after=1.0))))
    assert not run(attempt("a thing", failing(InsufficientCredit("none")), (InsufficientCredit,)))
    assert caplog.text == ""
    assert not run(attempt("a thing", failing(InsufficientCredit("none"))))
    assert "InsufficientCredit" in caplog.text


def test_who_is_cancelled_waits_for_the_end_of_the_work_and_is_cancelled() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("done")

    async def work() -> None:
        task = asyncio.create_task(attempt("a thing", slow()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled() and ended == ["done"]

    run(work())


def test_what_ends_a_task_gets_out() -> None:
    async def work() -> None:
        with pytest.raises(asyncio.CancelledError):
            await attempt("a thing", failing(asyncio.CancelledError()))

    run(work())


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_whole_ends_before_whoever_was_cancelled_goes_on(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def slow(go: asyncio.Event) -> str:
        await go.wait()
        ended.append("done")
        if fails:
            raise KeyError("a defect")
        return "a claim"

    async def work() -> None:
        go = asyncio.Event()
        task = asyncio.create_task(whole(slow(go)))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()
        go.set()
        await asyncio.wait((task,))
        assert task.cancelled() and ended == ["done"]

    run(work())
    assert caplog.text == ""


def test_what_is_whole_gives_what_it_gives() -> None:
    assert run(whole(asyncio.sleep(0, "value"))) == "value"
    with pytest.raises(KeyError):
        run(whole(failing(KeyError("told"))))
