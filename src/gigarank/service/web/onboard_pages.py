"""Onboarding in the browser: a model is checked, timed and evaluated on the server, step by step, until it is live.

Knows the catalogue and its onboarding. Invariant: what a page shows of a step is what the database says of it, whoever began
it, here or by `gigarank admin onboard`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gigarank.errors import InvalidInput, ObjectNotFound
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.call import Answer
from gigarank.service.catalogue import service as catalogue
from gigarank.service.catalogue.onboarding import Onboarding
from gigarank.service.catalogue.schemas import read_model
from gigarank.service.catalogue.steps import BENCH, DOCTOR, DTYPES, EVALUATION, SHAPES, Plan
from gigarank.service.openai.fields import Fields
from gigarank.service.web.console_routes import OPERATOR
from gigarank.service.web.views import Form, View
from gigarank.types import JsonObject

_ONBOARD = f"{OPERATOR}/onboard"
_STEPS = ((DOCTOR, "Is it sound"), (BENCH, "How fast it is"), (EVALUATION, "How good it is"))
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Standing:
    """A step. `state`: done, running, failed, waiting. `figure`: what it found, of one that is done."""

    name: str
    about: str
    state: str
    figure: JsonObject | None
    reason: str = ""

    @property
    def found(self) -> str:
        """In a word; "" where the figure is of another kind than today's commands give."""
        try:
            return "" if self.figure is None else _FOUND[self.name](self.figure["result"])
        except (KeyError, TypeError, ValueError):
            return ""


def _evaluated(result: JsonObject) -> str:
    rows = [(one["set"]["name"], one["main_metric"], one["metrics"]) for one in result["results"]]
    return ", ".join(f"{name}: {metric} {metrics[metric]['reranked']:.3f}" for name, metric, metrics in rows)


def _checked(result: JsonObject) -> str:
    checks = result["checks"]
    return f"{sum(one['passed'] for one in checks)} of {len(checks)} checks passed"


_FOUND: Mapping[str, Callable[[JsonObject], str]] = {
    DOCTOR: _checked,
    BENCH: lambda result: f"{result['pairs_per_second']:.4g} pairs a second",
    EVALUATION: _evaluated,
}


def standing(row: JsonObject | None, running: bool) -> list[Standing]:
    """Of each step, in their order: the first that is not done is the one that runs, or that failed."""
    figures = {} if row is None else {figure["step"]: figure for figure in row["figures"]}
    reason = "" if row is None else row["reason"] or ""
    found: list[Standing] = []
    for name, about in _STEPS:
        first = all(one.state == "done" for one in found)
        if name in figures:
            found.append(Standing(name, about, "done", figures[name]))
        elif first and running:
            found.append(Standing(name, about, "running", None))
        elif first and reason.startswith(f"{name}: "):
            found.append(Standing(name, about, "failed", None, reason.removeprefix(f"{name}: ")))
        else:
            found.append(Standing(name, about, "waiting", None))
    return found


_DTYPES = [("", "what each command takes by itself"), *((name, name) for name in DTYPES)]


async def _page(office: Office, guest: Guest) -> Mapping[str, Any]:
    typed = guest.call.body.get("model", "") if guest.call.body else guest.call.query.get("model", "")
    named = _named(typed)
    onboarding = Onboarding.of(guest.call.settings)
    now = await asyncio.to_thread(onboarding.running)
    mine = now is not None and now.model == named
    row = None
    if named:
        try:
            row = await office.desk.database.run(lambda one: catalogue.show(one, named, office.now))
        except ObjectNotFound:  # nobody has asked for it yet
            row = None
    said = await asyncio.to_thread(onboarding.said, named) if named else ""
    steps = standing(row, mine)
    return {
        "model": typed,
        "row": row,
        "steps": steps,
        "running": now,
        "mine": mine,
        "said": said,
        "shapes": _shapes(named),
        "dtypes": _DTYPES,
    }


def _named(typed: str) -> str:
    try:
        return read_model(typed)
    except InvalidInput:
        return ""


def _shapes(name: str) -> list[tuple[str, str]]:
    """For the choice on the page: of a known model its own alone."""
    own = SHAPES.get(name)
    return [("", own)] if own else [(one, one) for one in SHAPES.values()]


def read_plan(fields: Fields, results: str) -> Plan:
    """Raises InvalidInput."""
    texts = {name: (fields.text(name) or "").strip() for name in ("data", "suite", "shape", "load", "dtype")}
    for name in ("data", "load"):  # a text that is no path may be the name of a repository
        path = name == "data" or texts[name].startswith(("/", "."))
        if texts[name] and path and not Path(texts[name]).is_dir():
            message = f"{name}: no folder {texts[name][:200]!r} on the machine of this server"
            raise InvalidInput(message, param=name, received=texts[name][:200])
    data = (texts["data"],) if texts["data"] else ()
    counts = (_count(fields, "limit", 100), _count(fields, "docs", 20))
    model = read_model(fields.given("model"))
    return Plan(model, data, texts["suite"], *counts, texts["shape"], texts["load"], results, texts["dtype"])


def _count(fields: Fields, name: str, usual: int) -> int:
    text = (fields.text(name) or "").strip() or str(usual)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= _MOST):
        message = f"{name}: a number from 1 to {_MOST} is expected; received {text[:40]!r}"
        raise InvalidInput(message, param=name, limit=_MOST, received=text[:40])
    return int(text)


async def _start(office: Office, guest: Guest) -> Answer:
    settings = guest.call.settings
    onboarding = Onboarding.of(settings)
    plan = read_plan(Fields(guest.call.body), onboarding.results)
    shown = await office.desk.database.run(lambda one: catalogue.propose(one, plan.model, office.now))
    if shown["state"] in ("live", "retired"):
        message = f"model: {plan.model} is {shown['state']}; what is proposed, or on its way, is expected"
        raise InvalidInput(message, param="model", limit="proposed", received=shown["state"])
    await asyncio.to_thread(onboarding.start, plan, settings)
    return Answer({"model": plan.model})


async def _stop(_office: Office, guest: Guest) -> Answer:
    await asyncio.to_thread(Onboarding.of(guest.call.settings).stop)
    return Answer({"model": guest.call.body.get("model", "")})


def _back(done: str) -> Any:
    return lambda _guest, answer: f"{_ONBOARD}?model={quote(answer.body['model'], safe='')}&done={done}"


_VIEW = View("operator_onboard.html", _page)
PAGES: Mapping[str, PeopleEndpoint] = {
    f"GET {_ONBOARD}": _VIEW,
    f"POST {_ONBOARD}": Form(_start, _VIEW, _back("onboarding")),
    f"POST {_ONBOARD}/stop": Form(_stop, _VIEW, _back("stopped")),
}
