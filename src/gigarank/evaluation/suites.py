"""The suites of the published evaluation, as data: suites.toml, with each task's data set, splits, instruction and metric.

Knows names and texts; `suite_run` runs them, and published figures of models are the catalogue's. Invariant: the suites here
are the catalogue's SUITES, and every task of a suite is described.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files

from gigarank.errors import InvalidInput

TOP_K = 100
"""How many candidates of the first stage the published protocol reranks."""


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """One task, by mteb's name. `dataset` and `revision` are the Hugging Face hub's; `metric` is the main score by mteb's
    name. `instruction` None: each query brings its own, or the prompt's default holds."""

    name: str
    dataset: str
    revision: str
    instruction: str | None = None
    metric: str = "ndcg_at_10"
    splits: tuple[str, ...] = ("test",)


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite's figure is the mean over its tasks of each one's main score, languages of a task averaged first."""

    name: str
    tasks: tuple[SuiteTask, ...]


def read_suites() -> dict[str, Suite]:
    """The suites by name, in the order of the published table."""
    described = tomllib.loads(files(__package__).joinpath("suites.toml").read_text(encoding="utf-8"))
    tasks = {
        name: SuiteTask(name=name, **{**fields, "splits": tuple(fields.get("splits", ("test",)))})
        for name, fields in described["tasks"].items()
    }
    return {name: Suite(name, tuple(tasks[task] for task in names)) for name, names in described["suites"].items()}


SUITES = read_suites()


def find_suite(name: str) -> Suite:
    """The suite of this name, in any case; raises InvalidInput that lists them."""
    for suite in SUITES.values():
        if suite.name.lower() == name.lower():
            return suite
    known = ", ".join(SUITES)
    raise InvalidInput(f"suite: unknown {name!r}; known: {known}", param="suite", limit=known, received=name)
