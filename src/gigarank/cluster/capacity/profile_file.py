"""A profile out of a file: what `scripts/bench plan --profile` writes, or the JSON of `gigarank bench engine`.

Knows both forms and no hardware. Invariant: a file that is neither, or holds no finite costs, is refused with its name.
"""

import json
import math
from pathlib import Path
from typing import Any

from gigarank import catalogue
from gigarank.cluster.capacity.calibration import solve
from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.profiles import SERVED_BATCH_TOKENS, Fact, Profile
from gigarank.errors import BadFile

_NUMBERS = ("batch_s", "token_s", "reach_s", "request_s", "document_s")


def read_profile(path: Path) -> Profile:
    """Raises BadFile."""
    try:
        found = _last(path)
        return _engine(found) if found.get("bench") == "engine" else _written(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"profile: {path} is no profile and no JSON of `gigarank bench engine`: {error}"
        raise BadFile(message, param="profile", received=str(path)) from error


def _last(path: Path) -> Any:
    """The whole file as one value, or its last line: a bench's table may stand before it."""
    text = path.read_text(encoding="utf-8").strip()
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(text.splitlines()[-1] if text else "")


def _written(found: Any) -> Profile:
    costs = found["costs"]
    batch_s, token_s, reach_s, request_s, document_s = (_finite(name, costs[name]) for name in _NUMBERS)
    fact = Fact(f"{batch_s * 1e3:.3g} ms a batch, {token_s * 1e3:.3g} ms a token", "measured", str(found["source"]))
    own = Costs(int(costs["layers"]), batch_s, token_s, reach_s, request_s, document_s)
    return Profile(str(found["model"]), str(found["hardware"]), own, SERVED_BATCH_TOKENS, (fact,))


def _engine(found: Any) -> Profile:
    """One workload gives the cost of a token; several also that of a batch."""
    rows, seconds = [], []
    for one in found["results"]:
        for value in one["seconds"]["gigarank"]:
            rows.append((float(len(one["batch_rows"])), float(sum(one["batch_rows"]))))
            seconds.append(_finite("seconds", value))
    several = len(set(rows)) > 1
    batch_s, token_s = solve(rows, seconds) if several else (0.0, sum(seconds) / sum(row[1] for row in rows))
    model, machine = found["model"], found["machine"]
    known = catalogue.find(model["shape"])
    where = f"{machine['cpu']}, {machine['torch_threads']} threads"
    what = f"{batch_s * 1e3:.3g} ms a batch, {token_s * 1e3:.3g} ms a token, {model['dtype']}"
    facts = [Fact(what, "measured", f"gigarank bench engine, {where}")]
    if not several:
        facts.append(Fact("no cost of a batch by itself", "assumed", "the file has one workload"))
    facts.append(Fact("nothing outside the model", "assumed", "the bench has no server"))
    name = model["shape"] if known is None else known.name
    return Profile(name, where, Costs(int(model["layers"]), batch_s, token_s), SERVED_BATCH_TOKENS, tuple(facts))


def _finite(name: str, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0.0:
        raise ValueError(f"{name} is {number}, and not a number of seconds")
    return number
