"""The race with contestants that a test wrote: turns, ratios, scores that differ, processes that fail, and their rows."""

import json
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gigarank.bench import race_room
from gigarank.bench.exported import padded
from gigarank.bench.race import RaceFailed, Runner, Track, check, run
from gigarank.bench.race_entries import ABSENT, ENTRIES, OURS, OURS_INT8, Entry
from gigarank.bench.race_record import Record
from gigarank.bench.race_room import PeerFailed, PeerProcess, chosen, environment, last_words, refuse_large
from gigarank.bench.race_table import difference, same_order, table
from gigarank.bench.workloads import Request
from gigarank.errors import InvalidInput

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "race.py"), run_name="race")
FAKE = """
import json, sys
added, factor, kind = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if kind == "dies":
    sys.exit("ImportError: no such library | here")
print(json.dumps({"how": f"fake {kind}", "versions": {"fake": "1.2"}}), flush=True)
for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    logits = [len(text) + added for text in asked["documents"]]
    if kind == "late" and number == 3:
        raise MemoryError("out of memory")
    if kind == "drifts" and number == 2:
        logits[0] += 1
    if kind == "short":
        logits = logits[1:]
    if kind == "fails" and asked["documents"] == ["eeeee"]:
        raise MemoryError("out of memory")
    if kind == "nan":
        logits[0] = float("nan")
    print(json.dumps({"logits": logits, "seconds": factor * (number + 1)}), flush=True)
"""
LOADS = {"short": Request("q", ("a", "bb", "ccc", "dddd"), read_tokens=40)}


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return track_of(tmp_path)


def track_of(place: Path, **race: Any) -> Track:
    record = Record(place / "records" / "race.json", race)
    return Track(place / "checkpoint", place / "environments", place / "logs", threads=1, record=record)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    path = tmp_path / "fake.py"
    path.write_text(FAKE)
    return path


def entry(
    fake: Path, name: str, *, added: float = 0.0, factor: float = 1.0, kind: str = "sound", against: str = "ours"
) -> Entry:
    return Entry(name, (str(fake), str(added), str(factor), kind), tolerance=0.01, against=against)


def raced(track: Track, entries: Sequence[Entry], rounds: int = 5) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    return run(entries, track, LOADS, rounds, said.append), said


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (one,) = found["results"]
    return {row["name"]: row for row in one["rows"]}


def test_medians_and_ratios_are_of_the_rounds_and_not_of_the_check(track: Track, fake: Path) -> None:
    found, said = raced(track, [entry(fake, "ours"), entry(fake, "slow", added=0.005, factor=3.0)])
    by_name = rows(found)
    assert by_name["ours"]["seconds"] == [4.0, 5.0, 6.0, 7.0, 8.0]  # behind the two of the scores and the one of warming up
    assert by_name["slow"]["seconds"] == [6.0, 9.0, 12.0, 15.0, 18.0]
    assert (by_name["ours"]["median_s"], by_name["ours"]["pairs_per_second"]) == (6.0, 0.6667)
    assert (by_name["slow"]["median_s"], by_name["slow"]["pairs_per_second"]) == (12.0, 0.3333)
    assert by_name["slow"]["ours_is_faster"] == {"median": 2.0, "min": 1.5, "max": 2.25}
    assert (by_name["slow"]["max_logit_difference"], by_name["slow"]["same_order"]) == (0.005, 1.0)
    assert found["contestants"]["slow"] == {"how": "fake sound", "versions": {"fake": "1.2"}}
    assert (found["rounds"], found["threads"]) == (5, 1)
    assert sum("of 5" in line for line in said) == 5


def test_other_scores_are_a_row_with_the_difference_and_no_time(track: Track, fake: Path) -> None:
    found, _ = raced(track, [entry(fake, "ours"), entry(fake, "other", added=0.02), entry(fake, "same")])
    by_name = rows(found)
    assert by_name["other"]["reason"] == "its scores differ by 0.02, allowed 0.01"
    assert "seconds" not in by_name["other"]
    assert by_name["same"]["reason"] == "" and len(by_name["same"]["seconds"]) == 5


def test_one_in_8_bits_takes_turns_with_ours_in_8_bits(track: Track, fake: Path) -> None:
    entries = [entry(fake, "ours"), entry(fake, "int8", factor=0.5), entry(fake, "q8", added=0.003, against="int8")]
    by_name = rows(raced(track, entries)[0])
    assert by_name["int8"]["ours_is_faster"]["median"] == 0.3333  # of 2.0 over 6.0 s and the like
    assert by_name["int8"]["ours_seconds"] == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert by_name["q8"]["against"] == "int8"
    assert by_name["q8"]["ours_seconds"] == [4.0, 4.5, 5.0, 5.5, 6.0]  # behind the 7 turns of its own race: still running
    assert by_name["q8"]["max_logit_difference"] == 0.003  # from the reference, not from whom it races


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("dies", "ImportError: no such library | here"),
        ("late", "MemoryError: out of memory"),
        ("drifts", "its scores differ by 1, allowed 0.01"),
        ("short", "gave 3 scores for 4 documents"),
        ("nan", "its scores differ by inf, allowed 0.01"),
    ],
)
def test_who_fails_is_a_row_and_the_others_go_on(track: Track, fake: Path, kind: str, reason: str) -> None:
    found, _ = raced(track, [entry(fake, "ours"), entry(fake, "bad", kind=kind), entry(fake, "good", factor=2.0)])
    by_name = rows(found)
    assert by_name["bad"]["reason"] == reason
    assert len(by_name["good"]["seconds"]) == len(by_name["good"]["ours_seconds"]) == 5
    line = next(line for line in table(found).splitlines() if "| bad |" in line)
    assert reason.replace("|", "/") in line
    assert line.count("|") == 9


def test_without_one_of_ours_there_is_no_race_and_what_was_measured_stays(tmp_path: Path, fake: Path) -> None:
    with pytest.raises(RaceFailed, match="ours, which others are compared with: ImportError"):
        raced(track_of(tmp_path), [entry(fake, "ours", kind="dies"), entry(fake, "good")])
    entries = [entry(fake, "ours"), entry(fake, "good"), entry(fake, "int8", kind="dies"), entry(fake, "q8", against="int8")]
    with pytest.raises(RaceFailed, match="int8, which others are compared with: ImportError"):
        raced(track_of(tmp_path), entries)
    assert track_of(tmp_path).record.row("short", "good") is not None
    entries[2] = entry(fake, "int8", kind="late")  # it ends in its own race, and q8 finds nobody
    with pytest.raises(RaceFailed, match="int8, which others are compared with: MemoryError: out of memory"):
        raced(track_of(tmp_path), entries)


def test_who_begins_changes_with_each_round(track: Track, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    scores = Runner.scores

    def watched(self: Runner, request: Request) -> tuple[list[float], float]:
        asked.append(self.entry.name)
        return scores(self, request)

    monkeypatch.setattr(Runner, "scores", watched)
    raced(track, [entry(fake, "O"), entry(fake, "a", against="O"), entry(fake, "b", against="O")])
    assert "".join(asked) == "OO" + "Oa" + "OaaOOaaOOa" + "Ob" + "ObbOObbOOb"


class TestGoingOn:
    """The same command again."""

    def test_what_was_measured_is_not_measured_again(self, tmp_path: Path, fake: Path) -> None:
        first, _ = raced(track_of(tmp_path), [entry(fake, "ours"), entry(fake, "a")])
        entries = [entry(fake, "ours"), entry(fake, "a", kind="dies"), entry(fake, "b")]
        found, said = raced(track_of(tmp_path), entries)
        assert rows(found)["a"] == rows(first)["a"]
        assert found["contestants"]["a"] == first["contestants"]["a"]
        assert "1 of 2: a, measured before" in said and "setting up a" not in said
        assert len(rows(found)["ours"]["seconds"]) == 10  # its turns beside both

    def test_a_race_that_is_whole_starts_nobody(self, tmp_path: Path, fake: Path) -> None:
        first, _ = raced(track_of(tmp_path), [entry(fake, "ours"), entry(fake, "a")])
        again, said = raced(track_of(tmp_path), [entry(fake, "ours", kind="dies"), entry(fake, "a", kind="dies")])
        assert again == first
        assert said == ["1 of 1: a, measured before"]

    def test_who_failed_is_tried_again(self, tmp_path: Path, fake: Path) -> None:
        raced(track_of(tmp_path), [entry(fake, "ours"), entry(fake, "a", kind="late")])
        found, _ = raced(track_of(tmp_path), [entry(fake, "ours"), entry(fake, "a")])
        assert rows(found)["a"]["reason"] == ""

    def test_only_the_workloads_that_are_missing_are_run(self, tmp_path: Path, fake: Path) -> None:
        loads = {**LOADS, "long": Request("q", ("eeeee",), read_tokens=9)}
        entries = [entry(fake, "ours"), entry(fake, "a", kind="fails")]
        run(entries, track_of(tmp_path), loads, 5, lambda line: None)
        assert track_of(tmp_path).record.rows("long")["a"]["reason"] == "MemoryError: out of memory"
        said: list[str] = []
        run([entries[0], entry(fake, "a")], track_of(tmp_path), loads, 5, said.append)
        assert not [line for line in said if line.startswith("short")]
        assert track_of(tmp_path).record.row("long", "a") is not None

    def test_the_time_of_all_runs_is_added_up(self, tmp_path: Path, fake: Path) -> None:
        raced(track_of(tmp_path), [entry(fake, "ours"), entry(fake, "a"), entry(fake, "bad", kind="dies")])
        record = track_of(tmp_path).record
        each = [record.rows("short")[name]["took_s"] for name in ("a", "bad")]
        assert record.seconds == pytest.approx(sum(each)) and each[0] > 0

    def test_another_race_is_refused_by_what_differs(self, tmp_path: Path, fake: Path) -> None:
        raced(track_of(tmp_path, layers=2, shape="nano"), [entry(fake, "ours"), entry(fake, "a")])
        with pytest.raises(InvalidInput, match=r"race\.json is of another race, layers 2, not 3: give another file"):
            track_of(tmp_path, layers=3, shape="nano")
        with pytest.raises(InvalidInput, match="shape nano, not None"):
            track_of(tmp_path, layers=2)

    @pytest.mark.parametrize("text", ["", "[1]", '{"rows": {}}'])
    def test_a_file_that_is_no_record_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "notes.json"
        path.write_text(text)
        with pytest.raises(InvalidInput, match=r"record: .*notes\.json is no record of a race"):
            Record(path, {})
        assert path.read_text() == text


def test_nobody_is_left_and_at_most_three_run_at_once(track: Track, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[PeerProcess] = []
    most: list[int] = []
    begin = PeerProcess.__init__

    def watched(self: PeerProcess, command: Sequence[str], log: Path, threads: int) -> None:
        begin(self, command, log, threads)
        made.append(self)
        most.append(sum(one._process.poll() is None for one in made))

    monkeypatch.setattr(PeerProcess, "__init__", watched)
    others = [entry(fake, name, kind=kind, against="int8") for name, kind in (("a", "sound"), ("b", "late"), ("c", "sound"))]
    raced(track, [entry(fake, "ours"), entry(fake, "int8"), *others])
    assert max(most) == 3
    assert all(process._process.poll() is not None for process in made) and len(made) == 5
    assert list(track.logs.iterdir()) == []  # what they made of the weights is gone too


def test_what_a_contestant_started_ends_with_it(tmp_path: Path) -> None:
    program = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print(1, flush=True); sys.stdin.read()"
    process = PeerProcess([sys.executable, "-c", program], tmp_path / "log", 1)
    process.ask(None, 60.0)
    process.close()
    process.close()  # a second time does nothing
    assert process._lines.get(timeout=60.0) == ""  # the end of a pipe that both could write to


def test_silence_ends_a_contestant(tmp_path: Path) -> None:
    process = PeerProcess([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", 1)
    with pytest.raises(PeerFailed, match=r"no answer within 0\.2 s"):
        process.ask(None, 0.2)
    assert process._process.poll() is not None


def test_an_end_without_a_word_says_the_code(tmp_path: Path) -> None:
    process = PeerProcess([sys.executable, "-c", "import sys; sys.exit(3)"], tmp_path / "log", 1)
    with pytest.raises(PeerFailed, match="and said nothing"):
        process.ask(None, 30.0)


@pytest.mark.parametrize(("rounds", "entries"), [(4, ENTRIES), (5, ())])
def test_too_few_rounds_or_nobody_is_refused(rounds: int, entries: Sequence[Entry]) -> None:
    with pytest.raises(InvalidInput, match="at least"):
        check(entries, rounds)


def test_a_difference_is_the_largest_and_nothing_hides_in_nan() -> None:
    assert difference([1.0, 5.0], [1.5, 4.0]) == 1.0
    assert difference([float("nan"), 1.0], [1.0, 1.0]) == float("inf")


def test_the_order_is_that_of_pairs_which_the_reference_tells_apart() -> None:
    assert same_order([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1.0
    assert same_order([2.0, 1.0, 3.0], [1.0, 2.0, 3.0]) == pytest.approx(2 / 3)
    assert same_order([1.0, 1.0], [1.0, 2.0]) == 0.0  # a tie is no order
    assert same_order([2.0, 1.0], [1.0, 1.0]) == same_order([1.0], [1.0]) == 1.0


class TestEnvironments:
    def test_nothing_required_is_this_interpreter(self, tmp_path: Path) -> None:
        assert environment(tmp_path, "x", ()) == Path(sys.executable)
        assert list(tmp_path.iterdir()) == []

    def test_one_of_its_own_sees_what_is_here_behind_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        python = environment(tmp_path, "x", ("numpy",))  # it is here: nothing is installed
        assert python == tmp_path / "x" / "bin" / "python"
        process = PeerProcess([str(python), "-c", "import numpy; print(1)"], tmp_path / "log", 1)
        assert process.ask(None, 60.0) == 1  # type: ignore[comparison-overlap]
        process.close()
        stamp = (tmp_path / "x" / "installed").stat().st_mtime_ns
        monkeypatch.setattr(race_room, "_called", None)  # the second time nothing is called
        assert environment(tmp_path, "x", ("numpy",)) == python
        assert (tmp_path / "x" / "installed").stat().st_mtime_ns == stamp

    def test_what_pip_cannot_find_is_its_last_words(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        with pytest.raises(PeerFailed, match=r"the installation failed: .*gigarank-has-no-such-peer"):
            environment(tmp_path, "x", ("gigarank-has-no-such-peer",))
        assert not (tmp_path / "x" / "installed").exists()

    def test_another_torch_or_cuda_is_not_installed(self) -> None:
        refuse_large(["onnxruntime", "flatbuffers"])
        for names in (["torch"], ["triton", "x"], ["nvidia-cudnn-cu13"]):
            with pytest.raises(PeerFailed, match="gigabytes"):
                refuse_large(names)
        with pytest.raises(PeerFailed, match="nvidia-a, nvidia-b, nvidia-c and more"):
            refuse_large([f"nvidia-{letter}" for letter in "abcd"])

    def test_what_is_left_out_is_neither_refused_nor_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        report = {"install": [{"metadata": {"name": name, "version": "1.5"}} for name in ("Peer", "triton", "helper")]}
        assert chosen(report, ["triton"]) == {"peer": "1.5", "helper": "1.5"}
        called: list[list[str]] = []

        def pip(command: list[str]) -> str:
            called.append(command)
            return json.dumps(report)

        monkeypatch.setattr(race_room, "_called", pip)
        (tmp_path / "x" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages").mkdir(parents=True)
        environment(tmp_path, "x", ("Peer==1.*",), ("triton",))
        assert called[1][-4:] == ["--dry-run", "--report", "-", "Peer==1.*"]
        assert called[2][-3:] == ["--no-deps", "peer==1.5", "helper==1.5"]
        assert (tmp_path / "x" / "installed").read_text() == "Peer==1.*\nwithout triton"
        with pytest.raises(PeerFailed, match="would install triton"):
            environment(tmp_path, "x", ("Peer==1.*",))

    def test_last_words(self) -> None:
        assert last_words("one\n\ntwo  \n\n") == "two"
        assert last_words("\n") == ""


def test_prompts_are_padded_at_the_right() -> None:
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids.dtype == mask.dtype == np.int64


class TestTheScript:
    def test_whom_of_ours_one_races_comes_with_it_and_unknown_names_are_refused(self) -> None:
        assert SCRIPT["chosen"]("") == list(ENTRIES)
        assert [one.name for one in SCRIPT["chosen"]("openvino-int8")] == [OURS, OURS_INT8, "openvino-int8"]
        assert [one.name for one in SCRIPT["chosen"]("openvino, transformers")] == [OURS, "transformers", "openvino"]
        with pytest.raises(InvalidInput, match="contestants: 'vllm' is not among gigarank, "):
            SCRIPT["chosen"]("vllm")

    def test_everyone_races_one_of_ours_that_comes_before_it(self) -> None:
        names = [one.name for one in ENTRIES]
        assert len(set(names)) == len(names) and names[:2] == [OURS, OURS_INT8]
        int8 = {one.name for one in ENTRIES if "int8" in one.name} | {"xllamacpp", "qwen3-embed"}
        for one in ENTRIES:
            assert one.against == (OURS_INT8 if one.name in int8 - {OURS_INT8} else OURS)
            assert one.tolerance == (0.0 if one.name == OURS else 0.9 if one.name in int8 else 1e-3)

    @pytest.mark.parametrize("given", [["--rounds", "4"], ["--contestants", "vllm"], ["--workload", "none"]])
    def test_a_bad_option_is_one_line(self, given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert SCRIPT["main"](given) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("race: error: ") and printed.err.count("\n") == 1

    @pytest.mark.slow
    def test_a_race_of_a_tiny_shape(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        given = ["--shape", "nano", "--layers", "1", "--docs", "3", "--tokens", "12", "--workload", "short", "--threads", "1"]
        given += ["--record", str(tmp_path / "race.json"), "--environments", str(tmp_path)]
        code = SCRIPT["main"]([*given, "--contestants", "gigarank-int8,transformers"])
        printed = capsys.readouterr().out
        assert code == 0
        result = json.loads(printed.splitlines()[-1])
        by_name = rows(result)
        assert list(by_name) == ["gigarank", "gigarank-int8", "transformers"]
        assert all(row["reason"] == "" for row in by_name.values())
        assert [len(row["seconds"]) for row in by_name.values()] == [10, 5, 5]
        assert by_name["transformers"]["max_logit_difference"] < 1e-4
        assert result["absent"] == ABSENT
        assert all(f"| - | {name} | " in printed for name in ABSENT)
        assert result["contestants"]["transformers"]["versions"]["transformers"][0].isdigit()
        assert SCRIPT["main"]([*given, "--contestants", "transformers", "--rounds", "6"]) == 2
        assert "record: " in (said := capsys.readouterr().err) and "of another race, rounds 5, not 6" in said

    def test_without_our_engine_it_ends_in_one_line_and_code_1(
        self, monkeypatch: pytest.MonkeyPatch, fake: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        entries = [entry(fake, "ours", kind="dies"), entry(fake, "a")]
        monkeypatch.setitem(SCRIPT["main"].__globals__, "chosen", lambda names: entries)
        given = ["--shape", "nano", "--layers", "1", "--docs", "1", "--tokens", "5", "--workload", "short"]
        given += ["--record", str(fake.with_name("race.json"))]
        assert SCRIPT["main"](given) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        last = printed.err.splitlines()[-1]
        assert last == "race: error: ours, which others are compared with: ImportError: no such library | here"


def test_the_table_has_a_row_for_everybody_in_every_workload(track: Track, fake: Path) -> None:
    loads = {**LOADS, "long": Request("q", ("eeeee",), read_tokens=9)}
    entries = [entry(fake, "ours"), entry(fake, "slow", factor=2.0), entry(fake, "bad", kind="late")]
    found = run(entries, track, loads, 5, lambda line: None)
    lines = table(found | {"absent": {"gone": "not tried"}}).splitlines()
    assert lines[0].startswith("| workload | contestant | median | pairs/s | beside it | ours is faster | largest difference")
    assert [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in lines[2:9]] == [
        ("short", "ours"),
        ("short", "slow"),
        ("short", "bad"),
        ("long", "ours"),
        ("long", "slow"),
        ("long", "bad"),
        ("-", "gone"),
    ]
    assert lines[2] == "| short | ours | 8 s | 0.5 | | | | |"
    assert lines[3] == "| short | slow | 8 s | 0.5 | ours | 1.00 (0.67 to 1.20) | 0.0e+00 | 1.000 |"
    assert lines[7] == "| long | bad | MemoryError: out of memory | | | | | |"  # it did not come back for the second workload
    assert lines[-3:] == ["- ours: fake sound", "- slow: fake sound", "- bad: fake late"]
