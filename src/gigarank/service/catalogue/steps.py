"""What is measured of a model before it is live: the steps, in their order, and the commands that take them.

Data and checks; runs nothing, and knows no database. Invariant: what is missing is told before anything is done.
"""

from dataclasses import dataclass

from gigarank import catalogue as known
from gigarank.errors import InvalidInput
from gigarank.service.catalogue.schemas import State

SHAPES = {"nano": "nano", "qwen3-reranker-0.6b": "0.6b", "qwen3-reranker-4b": "4b", "qwen3-reranker-8b": "8b"}
"""Of known models, as `gigarank bench engine` names them."""
DTYPES = ("fp32", "bf16", "int8")
"""Which all three commands know: the 8B model fits a machine of 24 GB in int8 alone."""
DOCTOR, BENCH, EVALUATION = "doctor", "bench", "evaluation"


@dataclass(frozen=True, slots=True)
class Plan:
    """`data`: folders to evaluate it on; or a published `suite`. `limit`: queries a set; `docs`: documents that are timed.
    `shape` "": the known model's. `load` "": what is known by its name. `results`: the folder of the evaluation's. `dtype`: one
    of DTYPES, or "": what each command takes by itself."""

    model: str
    data: tuple[str, ...] = ()
    suite: str = ""
    limit: int = 100
    docs: int = 20
    shape: str = ""
    load: str = ""
    results: str = "results"
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A command that measures. `state`: in which the model is meanwhile."""

    name: str
    state: State
    command: tuple[str, ...]


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """Raises InvalidInput where something is missing."""
    if bool(plan.suite) == bool(plan.data):
        message = "data: folders to evaluate it on are expected, or a suite with --suite, and not both"
        raise InvalidInput(message, param="data", limit="data or suite")
    shape = plan.shape or SHAPES.get(plan.model)
    if shape is None:
        listed = ", ".join(SHAPES.values())
        message = f"shape: {plan.model} is no known model: say which of {listed} it has the shape of, for the time it takes"
        raise InvalidInput(message, param="shape", limit=listed)
    if plan.dtype not in ("", *DTYPES):
        message = f"dtype: must be one of {', '.join(DTYPES)}, not {plan.dtype!r}"
        raise InvalidInput(message, param="dtype", limit=list(DTYPES), received=plan.dtype)
    model = known.find(plan.model)
    load = plan.load or (plan.model if model is None else model.name)
    on = ("--suite", plan.suite) if plan.suite else tuple(part for one in plan.data for part in ("--data", one))
    timed = ("--shape", shape, "--workload", "short", "--docs", str(plan.docs), "--repeats", "1")
    precision = ("--dtype", plan.dtype) if plan.dtype else ()
    measured = ("--model", load, *on, "--limit", str(plan.limit), "--output", plan.results)
    return (
        Step(DOCTOR, "benchmarking", ("doctor", load, *precision)),
        Step(BENCH, "benchmarking", ("bench", "engine", *timed, *precision)),
        Step(EVALUATION, "onboarding", ("eval", "run", *measured, *precision)),
    )


def words_of(plan: Plan) -> tuple[str, ...]:
    """The command that takes all of them, behind the program's name."""
    named = {"suite": plan.suite, "shape": plan.shape, "load": plan.load, "results": plan.results, "dtype": plan.dtype}
    given = [f"--{name}={text}" for name, text in named.items() if text]
    counts = (f"--limit={plan.limit}", f"--docs={plan.docs}")
    return ("admin", "onboard", *(f"--data={one}" for one in plan.data), *given, *counts, "--json", "--", plan.model)
