"""From an exception to one line on standard error and an exit code.

Knows no command. Invariant: a failure that has a reason (bad input, a missing model, a full disk, Ctrl-C) is one line
and one of the codes below; only a defect of gigarank itself shows a traceback, and ends in 1 as any Python program.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from gigarank.cli.command import Invocation
from gigarank.cli.output import note, printable, silence
from gigarank.errors import GigarankError, InvalidInput


class ExitCode(IntEnum):
    OK = 0
    USAGE = 2
    MODEL = 3
    IO = 4
    INTERRUPTED = 130


class ReaderGoneError(Exception):
    """Whoever read our output has closed the pipe."""


class Commands(TyperGroup):
    """The root command. typer ends a closed pipe with 1; this hands it on instead."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    command = typer.main.get_command(app)
    invocation = Invocation()
    try:
        returned = command.main(arguments, prog_name="gigarank", standalone_mode=False, obj=invocation)
    except (typer.TyperException, GigarankError, OSError, ReaderGoneError) as error:
        return _report(error, invocation.debug)
    if returned == ExitCode.INTERRUPTED:
        note("gigarank: error: interrupted")
    return returned if isinstance(returned, int) else ExitCode.OK


def _report(error: Exception, debug: bool) -> int:
    if debug:
        note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, OSError):
        _silence_output(sys.stdout)
    if isinstance(error, ReaderGoneError | BrokenPipeError):
        return _end_as_by_sigpipe()
    if message := printable(_message(error)):
        note(f"gigarank: error: {message}")
    return _code(error)


def _silence_output(stream: TextIO | None) -> None:
    if stream is not None:
        silence(stream)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        message = error.format_message()  # empty where the help has just been shown instead
        return f"{message} (see {context.command_path} --help)" if context and message else message
    return str(error)


def _code(error: Exception) -> ExitCode:
    if isinstance(error, OSError):
        return ExitCode.IO
    return ExitCode.USAGE if isinstance(error, InvalidInput | typer.TyperException) else ExitCode.MODEL


def _end_as_by_sigpipe() -> int:
    """End quietly, as `cat` does, by the signal itself, so that the shell sees what it expects (141)."""
    if not hasattr(signal, "SIGPIPE"):
        return ExitCode.IO
    _silence_output(sys.stdout)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 128 + signal.SIGPIPE
