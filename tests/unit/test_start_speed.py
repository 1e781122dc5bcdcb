"""What has to start fast loads no torch; the command that times it says what was missed."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "start_speed.py"), run_name="start_speed")


@pytest.mark.parametrize("command", [["--help"], ["models"], ["models", "show", "nano"]])
def test_help_and_the_list_of_models_load_no_torch(command: list[str]) -> None:
    program = "import sys\nfrom gigarank.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
    program += "print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True, check=True)
    assert done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


def test_every_start_is_timed_apart_and_only_stated_limits_can_be_missed() -> None:
    assert list(SCRIPT["commands"](["nano"], "int8")) == [
        *("gigarank --help", "gigarank models", "nano: ready", "nano: first score")
    ]
    found = {"gigarank --help": [0.1, 0.2, 9.0], "nano: first score": [99.0]}
    assert SCRIPT["missed"](found) == []
    assert SCRIPT["missed"](found | {"gigarank --help": [0.4, 0.5, 0.1]}) == ["gigarank --help"]
    lines = SCRIPT["table"](found).splitlines()
    assert lines[2:] == [
        "| gigarank --help | 0.20 s | 0.10 s | 9.00 s | 0.3 s |",
        "| nano: first score | 99.00 s | 99.00 s | 99.00 s | - |",
    ]


@pytest.mark.slow
@pytest.mark.nano
@pytest.mark.usefixtures("nano_folder")
def test_it_ends_in_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = SCRIPT["main"](["--repeats", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(result["seconds"]) == set(SCRIPT["commands"](["nano"], "auto"))
    assert code == (1 if result["missed"] else 0)
