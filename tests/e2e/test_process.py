"""The program as a process among others: full disks, closed pipes and streams, Ctrl-C, and what it imports."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import pytest

Program = Callable[..., CompletedProcess[str]]

FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
MANY = b"plants make food\n" * 50_000  # more than a pipe holds


def shell(command: list[str], rest: str, stdin: bytes = b"plants\n", unbuffered: str = "") -> CompletedProcess[bytes]:
    """Run `command rest` by a shell, so that `rest` may redirect. Buffered output fails later than unbuffered: at the end."""
    line = '"$@" ' + rest
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    whole = ["bash", "-c", line, "-", *command]
    return subprocess.run(whole, input=stdin, capture_output=True, timeout=120, env=environment, check=False)


@needs_full_disk
@pytest.mark.parametrize("more", ["", "--json", "-q"])
def test_a_full_disk_is_one_line_and_exit_code_4(overlap_command: list[str], more: str) -> None:
    done = shell(overlap_command, f"rank plants {more} >/dev/full")
    assert done.returncode == 4
    assert done.stderr == b"gigarank: error: standard output: No space left on device\n"


@needs_full_disk
def test_a_full_disk_under_help_is_exit_code_4(gigarank_command: list[str]) -> None:
    done = shell(gigarank_command, "--help >/dev/full")
    assert done.returncode == 4
    assert b"No space left on device" in done.stderr and b"Traceback" not in done.stderr


@needs_full_disk
def test_a_full_disk_under_standard_error_leaves_the_answer(overlap_command: list[str]) -> None:
    done = shell(overlap_command, "rank plants 2>/dev/full")
    assert done.returncode == 0
    assert done.stdout.startswith(b"1\t")


@needs_full_disk
def test_a_full_disk_under_the_output_file_is_exit_code_4(overlap_command: list[str]) -> None:
    done = shell(overlap_command, "embed --output /dev/full")
    assert done.returncode == 4
    assert done.stderr == b"gigarank: error: /dev/full: No space left on device\n"
    assert FULL.is_char_device()


def test_a_closed_standard_output_is_exit_code_4(overlap_command: list[str]) -> None:
    done = shell(overlap_command, "rank plants >&-")
    assert done.returncode == 4
    assert done.stderr == b"gigarank: error: standard output: closed\n"


def test_a_closed_standard_input_is_exit_code_2(overlap_command: list[str]) -> None:
    done = shell(overlap_command, "rank plants <&-")
    assert done.returncode == 2
    assert done.stderr == b"gigarank: error: documents: stdin: closed\n"


def test_a_closed_standard_error_is_no_failure(overlap_command: list[str]) -> None:
    assert shell(overlap_command, "rank plants 2>&-").returncode == 0
    assert shell(overlap_command, "rank plants nowhere 2>&-").returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_ends_it_quietly(overlap_command: list[str], unbuffered: str) -> None:
    done = shell(overlap_command, "rank plants -q | head -1; echo ${PIPESTATUS[0]}", stdin=MANY, unbuffered=unbuffered)
    first, status = done.stdout.splitlines()
    assert first.startswith(b"1\t")
    assert int(status) == 128 + signal.SIGPIPE
    assert done.stderr == b""


@pytest.mark.parametrize("slow", [False, True])
def test_ctrl_c_is_one_line_and_exit_code_130(overlap_command: list[str], slow: bool) -> None:
    """Both while it waits for input and while it ranks."""
    environment = {**os.environ, "OVERLAP_SECONDS": "30"}
    with subprocess.Popen(
        [*overlap_command, "rank", "plants"], stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        if slow:
            process.stdin.write(b"plants\n")
            process.stdin.close()
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stdout.read() == b""
        assert process.stderr.read() == b"gigarank: error: interrupted\n"


HEAVY = ("torch", "transformers", "tokenizers", "numpy", "safetensors", "huggingface_hub", "gguf")


LIGHT = [["--help"], ["rank", "--help"], ["--version"], ["models", "show", "no-such"], ["rank", ""]]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_help_and_refusals_load_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom gigarank.cli import failures, app\n"
        f"failures.run(app, {arguments!r})\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_the_console_script_is_installed_and_says_its_version() -> None:
    script = Path(sys.executable).with_name("gigarank")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "gigarank 0.1.0\n"


def test_ctrl_c_while_the_program_itself_is_read() -> None:
    """As the signal would: at the import of the command line."""
    program = (
        "import sys, os, signal\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'gigarank.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from gigarank.__main__ import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "rank", "x"], check=False, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "gigarank: error: interrupted\n")


COMMANDS = [[], ["rank"], ["embed"], ["models"], ["models", "show"], ["models", "get"], ["doctor"], ["bench"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(gigarank: Program, command: list[str]) -> None:
    done = gigarank(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"gigarank {' '.join(command)}".rstrip() in done.stdout.split("Example")[1]


@pytest.mark.parametrize("command", [[], ["rank"], ["embed"], ["doctor"]], ids=" ".join)
def test_help_tells_the_exit_codes(gigarank: Program, command: list[str]) -> None:
    shown = gigarank(*command, "--help").stdout
    assert [line.split()[0] for line in shown.split("Exit codes")[1].splitlines() if line.strip()] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "130",
    ]


def test_no_command_shows_the_help(gigarank: Program) -> None:
    done = gigarank()
    assert done.returncode == 2
    assert "Usage: gigarank" in done.stdout and done.stderr == ""
