"""A dataclass as a command: its fields are the options, its values what the command line said."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from gigarank.cli import failures
from gigarank.cli.command import Debug, as_command
from gigarank.errors import (
    BadFile,
    CheckpointError,
    DeviceUnavailable,
    GigarankError,
    InvalidInput,
    ModelUnavailable,
    UnknownModel,
)


@dataclass(frozen=True, kw_only=True)
class Base:
    size: Annotated[int, typer.Option(min=1)] = 3


@dataclass(frozen=True, kw_only=True)
class Options(Base):
    name: Annotated[str, typer.Argument()]
    more: Annotated[list[str] | None, typer.Argument()] = None
    loud: Annotated[bool, typer.Option("--loud")] = False
    debug: Debug = False


def run(seen: list[Options], *arguments: str) -> int:
    app = typer.Typer(cls=failures.Commands)
    app.command("greet")(as_command(Options, seen.append))
    app.callback()(lambda: None)
    return failures.run(app, ["greet", *arguments])


def test_the_values_arrive_as_one_frozen_value() -> None:
    seen: list[Options] = []
    assert run(seen, "you", "and", "me", "--size", "5", "--loud") == 0
    assert seen == [Options(name="you", more=["and", "me"], size=5, loud=True)]


def test_what_is_not_given_is_the_fields_default() -> None:
    seen: list[Options] = []
    assert run(seen, "you") == 0
    assert (seen[0].size, seen[0].loud, seen[0].debug) == (3, False, False)


@pytest.mark.parametrize("arguments", [(), ("you", "--size", "0"), ("you", "--size", "x"), ("you", "--quiet")])
def test_what_the_fields_do_not_allow_is_refused(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[Options] = []
    assert run(seen, *arguments) == 2
    assert seen == []
    assert "(see gigarank greet --help)" in capfd.readouterr().err


def test_the_command_has_the_name_and_the_help_of_its_work() -> None:
    def work(options: Options) -> None:
        """Says hello."""

    command = as_command(Options, work)
    assert (command.__name__, command.__doc__) == ("work", "Says hello.")


def raising(error: Exception) -> int:
    def work(options: Options) -> None:
        raise error

    app = typer.Typer(cls=failures.Commands)
    app.command("fail")(as_command(Options, work))
    app.callback()(lambda: None)
    return failures.run(app, ["fail", "now"])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InvalidInput("top_n: wrong"), 2, "top_n: wrong"),
        (BadFile("a.txt: broken"), 2, "a.txt: broken"),
        (UnknownModel("model: what"), 2, "model: what"),
        (CheckpointError("tensor x: missing"), 3, "tensor x: missing"),
        (ModelUnavailable("not here"), 3, "not here"),
        (DeviceUnavailable("no cuda"), 3, "no cuda"),
        (GigarankError("else"), 3, "else"),
        (OSError(28, "No space left on device", "x.npy"), 4, "x.npy: No space left on device"),
        (OSError(5, "Input/output error"), 4, "Input/output error"),
        (OSError("odd"), 4, "odd"),
        (InvalidInput("two\nlines\x1b[0m"), 2, "two lines\ufffd[0m"),
    ],
)
def test_each_failure_has_its_code_and_one_line(
    error: Exception, code: int, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == code
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", f"gigarank: error: {line}\n")


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


def test_an_exit_code_of_a_command_is_the_programs() -> None:
    def work(options: Options) -> None:
        raise typer.Exit(1)

    app = typer.Typer(cls=failures.Commands)
    app.command("check")(as_command(Options, work))
    app.callback()(lambda: None)
    assert failures.run(app, ["check", "it"]) == 1
