"""The program in a real pseudo-terminal: a table and colours on the screen, a bar while it works, and help that fits."""

import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.text import Text

Screen = Callable[..., tuple[int, str]]


def read_until_closed(controller: int) -> str:
    """All that a program draws, until it has gone; a terminal without a program is an input/output error."""
    drawn = b""
    while select.select([controller], [], [], 120)[0]:
        try:
            chunk = os.read(controller, 65_536)
        except OSError:
            break
        if not chunk:
            break
        drawn += chunk
    return drawn.decode()


def start(command: list[str], columns: int, **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    controller, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    left_out = ("COLUMNS", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**kept, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(terminal)
    return process, controller


@pytest.fixture
def screen(overlap_command: list[str]) -> Screen:
    """Runs the program in a terminal of so many columns; gives its exit code and what it drew."""

    def run(*arguments: str, columns: int = 90, **environment: str) -> tuple[int, str]:
        process, controller = start([*overlap_command, *arguments], columns, **environment)
        drawn = read_until_closed(controller)
        os.close(controller)
        return process.wait(60), drawn

    return run


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '"植物はどうやって食べ物を作る"\n"plants make food from light and water and air and time and again"\n"stone"\n'
    )
    return str(path)


def lines(drawn: str) -> list[str]:
    return [Text.from_ansi(line).plain for line in drawn.replace("\r\n", "\n").rstrip("\n").split("\n")]


@pytest.mark.parametrize("columns", [72, 90, 140])
def test_a_table_as_wide_as_the_terminal_with_aligned_columns(screen: Screen, corpus: str, columns: int) -> None:
    code, drawn = screen("rank", "plants food", corpus, "--quiet", columns=columns)
    heading, *rows = lines(drawn)
    assert code == 0
    assert heading.split() == ["#", "score", "prob.", "logit", "source", "document"]
    assert [row.split()[:5] for row in rows] == [
        ["1", "████████▊", "0.8808", "+2.00", "rows.jsonl:2"],
        ["2", "█▏", "0.1192", "-2.00", "rows.jsonl:1"],
        ["3", "█▏", "0.1192", "-2.00", "rows.jsonl:3"],
    ]
    starts = {cell_len(row[: row.index(word)]) for row, word in zip(rows, ["plants make", "植物は", "stone"], strict=True)}
    assert starts == {cell_len(heading[: heading.index("document")])}
    assert max(cell_len(row) for row in rows) <= columns
    assert rows[0].rstrip().endswith("…") == (columns < 140)


def test_the_table_is_coloured_unless_no_color_is_set(screen: Screen, corpus: str) -> None:
    coloured, plain = (screen("rank", "plants", corpus, "-q", **setting)[1] for setting in ({}, {"NO_COLOR": "1"}))
    assert "\x1b[32" in coloured and "\x1b[36m" in coloured
    assert "\x1b[32" not in plain and "\x1b[36m" not in plain


def test_a_bar_with_the_time_left_shows_while_it_ranks_and_is_gone_after(screen: Screen, corpus: str) -> None:
    _, drawn = screen("rank", "plants", corpus, OVERLAP_SECONDS="0.7")
    assert "ranking" in drawn and "2/3" in drawn and "0:00:0" in drawn
    assert drawn.rindex("ranking") < drawn.rindex("\x1b[2K") < drawn.index("score")
    assert "nano: 3 documents" in drawn


def test_short_work_shows_no_bar(screen: Screen, corpus: str) -> None:
    assert "ranking" not in screen("rank", "plants", corpus, "-q")[1]


def test_it_does_not_wait_for_typing_unless_asked(screen: Screen) -> None:
    code, drawn = screen("rank", "plants")
    assert code == 2
    assert "no file is named and standard input is a terminal; name files, or - to type them" in drawn


@pytest.mark.parametrize("columns", [80, 130])
def test_the_list_of_models_fits_and_says_which_are_here(gigarank_command: list[str], tmp_path: Path, columns: int) -> None:
    away = {"GIGARANK_CACHE": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    process, controller = start([*gigarank_command, "models"], columns, **away)
    heading, *rows = lines(read_until_closed(controller))
    os.close(controller)
    assert process.wait(60) == 0
    assert heading.split() == ["name", "repository", "kind", "size", "context", "licence", "here"]
    assert max(cell_len(row) for row in rows) <= columns
    (small,) = [row.split() for row in rows if row.startswith("qwen3-reranker-0.6b")]
    assert small[-5:] == ["reranker", "596M", "32,768", "Apache-2.0", "-"]
    assert rows[-1] == "gigarank models get NAME brings one"
    assert any(row.startswith("nano is a small, mostly English model") for row in rows)


def test_documents_can_be_typed(overlap_command: list[str]) -> None:
    process, controller = start([*overlap_command, "rank", "plants", "-", "-q"], 80)
    os.write(controller, b"a stone\nplants\n\x04")
    drawn = read_until_closed(controller)
    os.close(controller)
    assert process.wait(60) == 0
    assert [line.split()[4] for line in lines(drawn) if "█" in line] == ["stdin:2", "stdin:1"]


def test_ctrl_c_while_the_bar_shows_leaves_a_clean_terminal(overlap_command: list[str], corpus: str) -> None:
    process, controller = start([*overlap_command, "rank", "plants", corpus], 80, OVERLAP_SECONDS="1.5")
    drawn = ""
    while "1/3" not in drawn:
        drawn += os.read(controller, 65_536).decode(errors="replace")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    drawn += read_until_closed(controller)
    os.close(controller)
    assert process.wait(60) == 130
    assert drawn.count("\x1b[?25h") == drawn.count("\x1b[?25l") == 1  # the cursor is back
    assert drawn.endswith("gigarank: error: interrupted\r\n")
    assert "Traceback" not in drawn
