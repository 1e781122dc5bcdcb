"""`gigarank admin onboard`: a model is checked, timed and evaluated by the program's own commands, and then it is live.

Knows the commands by their JSON. Invariants: a step that fails leaves the model in its state, with the reason; a step that was
done is not done again, so that the command goes on where it ended; what a step found is kept with the moment at which it did.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer

from gigarank.cli.admin_catalogue import ModelOptions, post_of
from gigarank.cli.admin_options import opened, show
from gigarank.cli.output import note as say
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.cli.admin_options import Hosted
    from gigarank.service.catalogue.schemas import State
    from gigarank.service.catalogue.steps import Plan, Step
    from gigarank.types import JsonObject

_PROGRAM = (sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())")
_FAILED = 1
_SAID = 400
Runs = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


@dataclass(frozen=True, kw_only=True)
class OnboardOptions(ModelOptions):
    """The command line of `gigarank admin onboard`."""

    data: Annotated[list[Path] | None, typer.Option(help="BEIR folders to evaluate it on.", show_default=False)] = None
    suite: Annotated[str | None, typer.Option(help="A published suite instead.", show_default=False)] = None
    limit: Annotated[int, typer.Option(min=1, help="Queries a set.")] = 100
    docs: Annotated[int, typer.Option(min=1, help="Documents that are timed.")] = 20
    shape: Annotated[str | None, typer.Option(help="Its shape, where it is no known model.", show_default=False)] = None
    load: Annotated[str | None, typer.Option(help="A folder to load it from.", show_default=False)] = None
    results: Annotated[Path, typer.Option(help="The folder of the evaluation's results.")] = Path("results")
    dtype: Annotated[
        Literal["fp32", "bf16", "int8"] | None,
        typer.Option(help="Precision of all steps; what each takes by itself if not given.", show_default=False),
    ] = None


def onboard(options: OnboardOptions) -> None:
    """Check, time and evaluate a model, keep what was found on its page, and make it live.

    Goes on where it ended. Exit code 1: a step failed; its reason is shown and kept.
    """
    carry_out(options, _run)


def carry_out(options: OnboardOptions, runs: Runs) -> None:
    from gigarank.service.catalogue import service
    from gigarank.service.catalogue.schemas import read_model
    from gigarank.service.catalogue.steps import steps_of

    name = read_model(options.model)
    steps, post = steps_of(plan_of(options, name)), post_of(options)
    with opened(options) as hosted:
        shown = hosted.do(lambda one: service.propose(one, name, hosted.now))
        if shown["state"] in ("live", "retired"):
            message = f"model: {name} is {shown['state']}; what is proposed, or on its way, is expected"
            raise InvalidInput(message, param="model", limit="proposed", received=shown["state"])
        for step in steps:
            _reach(hosted, name, step.state)
            if step.name in [figure["step"] for figure in shown["figures"]]:
                say(f"{step.name}: was done")
                continue
            reason = _step(hosted, name, step, runs)
            if reason is not None:
                say(f"gigarank: error: {step.name}: {reason}")
                raise typer.Exit(_FAILED)
        show(hosted.do(lambda one: service.move(one, name, "live", post, int(time.time()))), options.json)


def plan_of(options: OnboardOptions, name: str) -> "Plan":
    from gigarank.service.catalogue.steps import Plan

    data, texts = tuple(map(str, options.data or ())), (options.shape or "", options.load or "", str(options.results))
    return Plan(name, data, options.suite or "", options.limit, options.docs, *texts, options.dtype or "")


def _reach(hosted: "Hosted", name: str, state: "State") -> None:
    """From where it is to the step's state; one that is further stays there."""
    from gigarank.service.catalogue import service
    from gigarank.service.catalogue.schemas import STATES
    from gigarank.service.mail.service import Post

    now = STATES.index(hosted.do(lambda one: service.show(one, name, hosted.now))["state"])
    for following in STATES[now + 1 : STATES.index(state) + 1]:
        hosted.do(lambda one, to=following: service.move(one, name, to, Post("", sends=False), hosted.now))  # type: ignore[misc]


def _step(hosted: "Hosted", name: str, step: "Step", runs: Runs) -> str | None:
    """Why it failed; None where it did not, and what it found is kept."""
    from gigarank.service.catalogue import service

    say(f"{step.name}: gigarank {' '.join(step.command)}")
    done = runs((*_PROGRAM, *step.command, "--json"))
    reason, found = _read(done)
    figure: JsonObject | None = None
    if found is not None:
        figure = {"step": step.name, "at": int(time.time()), "command": ["gigarank", *step.command], "result": found}
    told = None if reason is None else f"{step.name}: {reason}"
    hosted.do(lambda one: service.note(one, name, told, figure))
    return reason


def _read(done: "subprocess.CompletedProcess[str]") -> tuple[str | None, Any]:
    """(why it failed, what it found): one of them."""
    if done.returncode:
        said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["it said nothing"]
        return f"exit code {done.returncode}: {said[-1][-_SAID:]}", None
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        found = None
    return (None, found) if isinstance(found, dict) else ("its last line is no JSON object", None)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What it says meanwhile is said on, for whoever waits; what it prints is kept alone."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        said: list[str] = []
        listening = threading.Thread(target=_say_on, args=(process.stderr, said), name="listening")
        listening.start()
        printed = "" if process.stdout is None else process.stdout.read()
        listening.join()
    return subprocess.CompletedProcess(command, process.returncode, printed, "".join(said))


def _say_on(stream: IO[str], said: list[str]) -> None:
    for line in stream:
        said.append(line)
        say(line.rstrip("\n"))
