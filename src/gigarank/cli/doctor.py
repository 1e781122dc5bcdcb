"""`gigarank doctor [MODEL]`: whether a model runs rightly on this machine, and with what.

Knows how to show; what is checked is gigarank.engine.selftest's. Invariant: exit code 0 means that every check passed.
"""

import json as json_text
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gigarank.cli.command import Debug, Json, as_command
from gigarank.cli.loading import LoadOptions, check_kind, load_reranker
from gigarank.cli.output import emit

if TYPE_CHECKING:
    from gigarank.engine.reranker import Reranker
    from gigarank.engine.selftest import SelfTest


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(LoadOptions):
    """The command line of `gigarank doctor`."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name of `gigarank models`, a hub id or a folder.")] = "nano"
    json: Json = False
    debug: Debug = False


def _doctor(options: DoctorOptions) -> None:
    """Check a model: its prompt's ids, its head, its scores. Then show device, precision, kernels and versions.

    Exit code 1: a check failed.
    """
    check_kind(options.model, "reranker")
    reranker = load_reranker(options)
    from gigarank.engine import selftest

    outcome = selftest.run(reranker)
    found = report(reranker, outcome)
    emit(json_text.dumps(found, ensure_ascii=False) + "\n" if options.json else "\n".join(lines(found)) + "\n")
    if not outcome.passed:
        raise typer.Exit(1)


_doctor.__name__ = "doctor"
doctor = as_command(DoctorOptions, _doctor)


def report(reranker: "Reranker", outcome: "SelfTest") -> dict[str, Any]:
    """Everything that `--json` prints."""
    from gigarank.bench import machine

    about = machine.describe(machine.PACKAGES)
    return {
        "model": reranker.name,
        "prompt": reranker.prompt.id,
        "passed": outcome.passed,
        "checks": [asdict(check) for check in outcome.checks],
        "numerics": asdict(reranker.numerics),
        "memory": {"process_bytes": machine.resident_bytes(), "machine_bytes": about.pop("memory_bytes")},
        "machine": about,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The report for a person."""
    numerics, about, memory = found["numerics"], found["machine"], found["memory"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [
        f"{found['model']} (prompt {found['prompt']}): {'all checks passed' if found['passed'] else 'NOT SOUND'}",
        "",
        *(f"  {_mark(check)}  {check['name']}: {check['detail']}" for check in found["checks"]),
        "",
        f"{numerics['device']}, {numerics['dtype']}, {numerics['linear']} products, attention by {numerics['attention']}, "
        f"{'deterministic' if numerics['deterministic'] else 'not deterministic'}, tolerance {numerics['tolerance']:g}",
        *(f"  {reason}" for reason in numerics["reasons"]),
        "",
        f"machine   {about['cpu']}, {about['cores']} cores, {about['torch_threads']} threads, {about['cpu_capability']}",
        f"memory    {memory['process_bytes'] / 2**30:.2f} GiB in use, {memory['machine_bytes'] / 2**30:.1f} GiB in the machine",
        f"versions  {versions}",
    ]


def _mark(check: dict[str, Any]) -> str:
    if not check["passed"]:
        return "FAILED"
    return "passed" if check["applies"] else "  -   "
