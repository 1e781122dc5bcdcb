"""Each drill at a small size: nothing is paid for twice, lost or held. docs/reliability.md has the full size."""

import math
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from drills import __main__ as command
from drills.load import Asked, Load, Question, longest_silence, quantile
from drills.network import Impossible
from drills.ray_cluster import require_ray
from drills.run import DRILLS, perform
from drills.verdict import Verdict, judge
from houses import BODY
from upstream_server import by_words, scorer, status

REQUESTS = int(os.environ.get("GIGARANK_TEST_DRILLS", "0"))  # of a phase; at 0 the shortest of the drills, and little of them
SCRIPT = Path(__file__).parents[2] / "scripts" / "drill"
SHORT = ("postgres_restarted", "redis_down", "replica_killed", "two_sweepers", "disk_full")


@pytest.mark.parametrize("name", DRILLS)
def test_nothing_is_lost_or_paid_for_twice(name: str) -> None:
    if not REQUESTS and name not in SHORT:
        pytest.skip("one of the longer drills: GIGARANK_TEST_DRILLS=20, or scripts/drill")
    try:
        verdict = perform(name, REQUESTS or 8, 4)
    except Impossible as reason:
        pytest.skip(str(reason))
    assert verdict.faults == ()
    assert verdict.requests > 0


def scene(*statuses: tuple[int, ...]) -> Load:
    load = Load(lambda: "", "")
    load.done = [Asked(float(place), 0.1 * (place + 1), tried) for place, tried in enumerate(statuses)]
    load.tries = [status for tried in statuses for status in tried]
    return load


class Books:
    """A house whose books say what a test wants."""

    def __init__(self, *, sound: bool = True, charged: int = 2, spent: int = 4, debits: int = 4, held: int = 0) -> None:
        self.sound = sound
        self.says = {"reservations": held, "batch_id IS NULL": charged, "FROM usage": spent, "FROM ledger": debits}

    def admin(self, *words: str) -> dict[str, bool]:
        assert words == ("check",)
        return {"sound": self.sound}

    def rows(self, query: str) -> list[tuple[int]]:
        return [(next(said for part, said in self.says.items() if part in query),)]


@pytest.mark.parametrize(
    ("books", "fault"),
    [
        (Books(), ""),
        (Books(sound=False), "the ledger does not add up"),
        (Books(charged=3), "2 answers, and 3 were paid for"),
        (Books(charged=1), "2 answers, and 1 were paid for"),
        (Books(debits=5), "usage says 4, the ledger 5"),
        (Books(), "1 answers have other scores than the engine's"),
    ],
)
def test_a_verdict_says_what_the_books_have_wrong(books: Any, fault: str) -> None:
    load = scene((200,), (503, 0, 200), (503,))
    load.wrong = [{}] if "scores" in fault else []
    verdict = judge("any", books, load, load.done[:1], losing=True)
    assert verdict.faults == ((fault,) if fault else ())
    assert (verdict.requests, verdict.lost, verdict.refused) == (3, 1, {"0": 1, "503": 2})
    assert verdict.line["sound"] is (not fault)
    assert verdict.row.startswith("| any | 3 | 1 | 1 cut, 2 of 503 |")


def test_what_is_held_still_is_a_fault() -> None:
    assert judge("any", cast(Any, Books(held=2)), scene((200,), (200,)), [], patience_s=0.0).faults == ("2 holds are left",)


def test_what_is_lost_is_a_fault_unless_nobody_served() -> None:
    load = scene((200,), (200,), (503, 503))
    assert judge("any", cast(Any, Books()), load, []).faults == ("1 requests were lost",)
    assert judge("any", cast(Any, Books()), load, [], losing=True).faults == ()


def test_requests_that_a_kill_cut_off_may_be_paid_for_and_others_must() -> None:
    load = scene((200,))
    assert judge("any", cast(Any, Books()), load, [], cut=1).faults == ()
    assert judge("any", cast(Any, Books()), load, [], also=1).faults == ()
    assert judge("any", cast(Any, Books()), load, [], also=2).faults == ("3 answers, and 2 were paid for",)


def test_a_quantile_is_of_what_was_asked() -> None:
    assert quantile([], 0.99) == 0.0
    assert [round(quantile(scene(*[(200,)] * 10).done, part)) for part in (0.0, 0.5, 0.99)] == [100, 600, 1000]


def test_a_patient_client_asks_again_under_one_key_and_another_one_does_not() -> None:
    with scorer(logit=by_words) as one:
        one.faults = [status(503), status(503)]
        with Load(lambda: one.url, "k", clients=1, patience_s=30.0) as load:
            load.further(1)
        assert load.done[0].statuses == (503, 503, 200)
        one.faults = [status(503)]
        with Load(lambda: one.url, "k", clients=1) as load:
            load.until(lambda: 503 in load.statuses())
            load.further(1)
        assert load.done[0].statuses == (503,)


def test_an_answer_with_other_scores_is_wrong() -> None:
    asked = {"query": "red planet", "documents": ["a red planet", "a cake"]}
    with scorer(logit=by_words) as one:
        right = {0: 1 / (1 + math.exp(-3.0)), 1: 1 / (1 + math.exp(1.0))}
        for scores, wrong in ((right, False), ({**right, 1: right[1] + 1e-9}, True), ({0: right[0]}, True)):
            with Load(lambda: one.url, "k", clients=1, questions=[Question(BODY), Question(asked, scores)]) as load:
                load.further(2)
                load.stop()
            assert bool(load.wrong) is wrong


def test_a_client_that_was_refused_rests_but_not_beyond_the_end() -> None:
    with scorer(logit=by_words) as one:
        one.faults = [status(503)]
        with Load(lambda: one.url, "k", clients=1, rest_s=1e6) as load:
            load.until(lambda: 503 in load.statuses())
            with pytest.raises(AssertionError, match="1 answers did not come"):
                load.further(1, timeout_s=1.0)
        assert load.statuses() == {503: 1}


def test_what_met_a_time_and_how_long_nothing_was_answered() -> None:
    one = Asked(10.0, 2.0, (200,))
    assert [one.met(span) for span in ((0.0, 8.0), (0.0, 8.1), (9.0, 9.1), (9.9, 20.0), (10.0, 20.0))] == [0, 1, 1, 1, 0]
    asked = [Asked(ended, 0.1, (status,)) for ended, status in ((7.0, 200), (1.0, 200), (2.0, 200), (4.0, 503))]
    assert longest_silence(asked) == 5.0
    assert longest_silence(asked[:1]) == 0.0


def test_two_replicas_need_two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the cluster extra is not installed")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(Impossible, match="two processors"):
        require_ray()


@pytest.mark.parametrize(("words", "said"), [(("nothing",), "invalid choice"), ((), "required")])
def test_the_command_knows_its_drills(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run([SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and said in done.stderr


def impossible(*rest: object) -> Verdict:
    raise Impossible("no root here")


def broken(*rest: object) -> Verdict:
    raise AssertionError("no answers came")


def found(*faults: str) -> Callable[..., Verdict]:
    return lambda *rest: Verdict("any", 1, 0, {}, 1, 0, 1.0, 1.0, 1.0, "", faults)


@pytest.mark.parametrize(
    ("does", "code", "said"),
    [
        (impossible, 0, "two_sweepers: not done: no root here"),
        (broken, 1, "two_sweepers: broken off: no answers came"),
        (found(), 0, '"sound": true'),
        (found("2 holds are left"), 1, '"sound": false'),
    ],
)
def test_the_command_ends_with_1_where_something_is_wrong(
    does: Callable[..., Verdict], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "perform", does)
    monkeypatch.setattr("sys.argv", ["drill", "two_sweepers", "--json"])
    assert command.main() == code
    assert said in "".join(capsys.readouterr())
