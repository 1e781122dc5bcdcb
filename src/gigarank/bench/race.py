"""The race: contestants in processes of their own, on one checkpoint and the same texts, in turns with one of ours.

The first contestant is the reference. Every other one's logits are compared with its before anything is timed, and again in
every round; one that fails or disagrees becomes a row with its reason, and the others go on. Knows no library. Invariant: at
any time there are at most three contestants in memory, ours in fp32 and in int8 and one other; what was measured is kept.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gigarank.bench.race_entries import Entry
from gigarank.bench.race_record import Record
from gigarank.bench.race_room import LOAD_S, PeerFailed, PeerProcess, environment
from gigarank.bench.race_table import difference, measured, reference_row, same_order, unfit
from gigarank.bench.workloads import Request, head
from gigarank.errors import InvalidInput
from gigarank.types import JsonObject

CHECKED_DOCUMENTS, CHECKED_WORDS = 8, 200
SCORE_S = 3_600.0
FEWEST_ROUNDS = 5
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Track:
    """Where the race is run. `checkpoint`: everyone's folder of weights; `environments`: where theirs are kept; `logs`: a
    folder for what they say and make; `record`: what was measured before."""

    checkpoint: Path
    environments: Path
    logs: Path
    threads: int
    record: Record


class Runner:
    """A contestant that runs. Raises PeerFailed where it cannot be set up."""

    def __init__(self, entry: Entry, track: Track, say: Say) -> None:
        say(f"setting up {entry.name}")
        self.entry = entry
        self._place = track.logs / entry.name
        self._place.mkdir(parents=True, exist_ok=True)
        python = environment(track.environments, entry.room or entry.name, entry.requirements, entry.without)
        command = [str(python), *entry.program, str(track.checkpoint), str(self._place), str(track.threads)]
        self._process = PeerProcess(command, self._place / "stderr.txt", track.threads)
        try:
            ready = self._process.ask(None, LOAD_S)
        except PeerFailed:
            self.close()
            raise
        track.record.keep_contestant(entry.name, {"how": str(ready["how"]), "versions": dict(ready["versions"])})

    def scores(self, asked: Request) -> tuple[list[float], float]:
        """Logits and seconds. Raises PeerFailed."""
        told = self._process.ask({"query": asked.query, "documents": list(asked.documents)}, SCORE_S)
        logits, seconds = [float(one) for one in told["logits"]], float(told["seconds"])
        if len(logits) != len(asked.documents):
            raise PeerFailed(f"gave {len(logits)} scores for {len(asked.documents)} documents")
        return logits, seconds

    def close(self) -> None:
        """Ends it, and what it made of the weights is gone."""
        self._process.close()
        shutil.rmtree(self._place)


class RaceFailed(Exception):  # noqa: N818 - the race's end; what was measured stays in its record
    """One of ours does not run; the message says which, and why."""


class Stable:
    """Ours: each is started when the first one races it, and kept till the end."""

    def __init__(self, entries: Sequence[Entry], track: Track, say: Say, ending: ExitStack) -> None:
        self.reference = entries[0].name
        self.track, self.say = track, say
        names = {self.reference, *(entry.against for entry in entries)}
        self._entries = {entry.name: entry for entry in entries if entry.name in names}
        self._ending = ending
        self._running: dict[str, Runner] = {}

    def runner(self, entry: Entry, ending: ExitStack) -> Runner:
        """The contestant, one of ours or one that `ending` closes. Raises PeerFailed."""
        if entry.name in self._entries:
            return self._ours(entry.name)
        theirs = Runner(entry, self.track, self.say)
        ending.callback(theirs.close)
        return theirs

    def scores(self, name: str, asked: Request) -> tuple[list[float], float]:
        """Of one of ours. Raises RaceFailed."""
        try:
            return self._ours(name).scores(asked)
        except PeerFailed as error:
            raise RaceFailed(f"{name}, which others are compared with: {error}") from error

    def _ours(self, name: str) -> Runner:
        if name not in self._running:
            self._running[name] = Runner(self._entries[name], self.track, self.say)
            self._ending.callback(self._running[name].close)
        return self._running[name]


def check(entries: Sequence[Entry], rounds: int) -> None:
    """Raises InvalidInput."""
    if rounds < FEWEST_ROUNDS:
        raise InvalidInput(
            f"rounds: at least {FEWEST_ROUNDS}, not {rounds}", param="rounds", limit=FEWEST_ROUNDS, received=rounds
        )
    if not entries:
        raise InvalidInput("contestants: at least one is needed, none was given", param="contestants", limit=1, received=0)


def run(entries: Sequence[Entry], track: Track, loads: dict[str, Request], rounds: int, say: Say) -> JsonObject:
    """All workloads of all contestants, but for what is in the record. Raises RaceFailed."""
    check(entries, rounds)
    record = track.record
    with ExitStack() as ending:
        stable = Stable(entries, track, say, ending)
        for place, entry in enumerate(entries[1:], 1):
            left = {name: asked for name, asked in loads.items() if record.row(name, entry.name) is None}
            say(f"{place} of {len(entries) - 1}: {entry.name}" + ("" if left else ", measured before"))
            if left:
                _raced(entry, stable, left, rounds)
    results = [_result(name, asked, entries, record.rows(name)) for name, asked in loads.items()]
    about = {entry.name: record.contestants[entry.name] for entry in entries if entry.name in record.contestants}
    return {"contestants": about, "rounds": rounds, "threads": track.threads, "results": results}


def _result(name: str, asked: Request, entries: Sequence[Entry], rows: dict[str, JsonObject]) -> JsonObject:
    found = [rows[entry.name] for entry in entries if entry.name in rows]
    first = reference_row(entries[0].name, len(asked.documents), found)
    return {"workload": name, "documents": len(asked.documents), "read_tokens": asked.read_tokens, "rows": [first, *found]}


def _raced(entry: Entry, stable: Stable, loads: dict[str, Request], rounds: int) -> None:
    """One contestant's workloads, a row in the record each; once it has failed, the rest have its reason."""
    record, left = stable.track.record, list(loads)
    expected = {name: _expected(name, asked, stable) for name, asked in loads.items()}
    lap = time.monotonic()
    with ExitStack() as ending:
        try:
            theirs = stable.runner(entry, ending)
            for name, asked in loads.items():
                row = _turns(Turn(name, asked, theirs, expected[name]), stable, rounds)
                taken, lap = time.monotonic() - lap, time.monotonic()
                record.keep(name, row | {"took_s": round(taken, 3)})
                left.remove(name)
        except PeerFailed as error:
            stable.say(f"{entry.name} does not run: {error}")
            for name in left:
                taken, lap = time.monotonic() - lap, time.monotonic()
                record.keep(name, unfit(entry, str(error)) | {"took_s": round(taken, 3)})


def _expected(name: str, asked: Request, stable: Stable) -> tuple[list[float], list[float]]:
    """The reference's logits of the part that is checked first, and of all documents: computed once a race."""
    record = stable.track.record
    if name not in record.expected:
        stable.say(f"{name}: the scores that all are compared with")
        (checked, _), (whole, _) = (stable.scores(stable.reference, one) for one in (_part(asked), asked))
        record.keep_expected(name, checked, whole)
    checked, whole = record.expected[name]
    return checked, whole


def _part(asked: Request) -> Request:
    return head(asked, CHECKED_DOCUMENTS, CHECKED_WORDS)


@dataclass(frozen=True, slots=True)
class Turn:
    """A contestant before a workload. `expected`: the reference's logits of the part and of all."""

    workload: str
    asked: Request
    theirs: Runner
    expected: tuple[list[float], list[float]]

    def compared(self, asked: Request, expected: Sequence[float]) -> tuple[float, float, float]:
        """Seconds, the largest difference, and the share of pairs in the same order. Raises PeerFailed."""
        logits, seconds = self.theirs.scores(asked)
        return seconds, difference(logits, expected), same_order(logits, expected)


def _turns(turn: Turn, stable: Stable, rounds: int) -> JsonObject:
    """The check, which also warms both up, and the rounds; who begins changes with each. Raises PeerFailed, RaceFailed."""
    entry, part = turn.theirs.entry, _part(turn.asked)
    stable.scores(entry.against, part)
    _, worst, _ = turn.compared(part, turn.expected[0])
    theirs: list[float] = []
    ours: list[float] = []
    alike = 1.0
    for number in range(1, rounds + 1):
        if not worst <= entry.tolerance:
            break
        if number % 2:
            ours.append(stable.scores(entry.against, turn.asked)[1])
        seconds, differs, alike = turn.compared(turn.asked, turn.expected[1])
        theirs.append(seconds)
        worst = max(worst, differs)
        if not number % 2:
            ours.append(stable.scores(entry.against, turn.asked)[1])
        stable.say(f"{turn.workload}, round {number} of {rounds}: {entry.name} {theirs[-1]:.2f} s, ours {ours[-1]:.2f} s")
    if not worst <= entry.tolerance:
        return unfit(entry, f"its scores differ by {worst:.3g}, allowed {entry.tolerance:g}")
    checked = {"max_logit_difference": float(f"{worst:.3g}"), "same_order": round(alike, 4)}
    return measured(entry, len(turn.asked.documents), theirs, ours) | checked
