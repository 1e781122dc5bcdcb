"""Calibration: from a logit to a probability that means what it says, fitted on one set and judged on another.

Temperature scaling divides every logit by one number (Guo et al., 2017); Platt scaling also shifts it (Platt, 1999, with
his smoothed targets). Knows no model, set or file format of results: labelled logits in, two numbers out. Invariant: the
scale is positive, so that a calibrated probability never contradicts the order of the logits.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gigarank.errors import BadFile, InvalidInput

Method = Literal["temperature", "platt"]
METHODS: tuple[Method, ...] = get_args(Method)
FORMAT = 1
BINS = 15
_MIN_SCALE = 1e-3  # a fit at this bound says that the logits tell next to nothing
_MAX_STEPS = 100
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Logits with whether each one's document is relevant; `sets` names where they come from."""

    sets: tuple[str, ...]
    logits: tuple[float, ...]
    relevant: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.logits) != len(self.relevant):
            received = (len(self.logits), len(self.relevant))
            raise InvalidInput("calibration: as many labels as logits are needed", param="relevant", received=received)


@dataclass(frozen=True, slots=True)
class Calibration:
    """probability = sigmoid(scale * logit + shift). What it was fitted for and on stands beside it; `pairs` counts."""

    method: Method
    scale: float
    shift: float
    model: str
    prompt: str
    sets: tuple[str, ...]
    pairs: int

    def apply(self, logit: float) -> float:
        """The calibrated probability that a document of this logit is relevant."""
        return sigmoid(self.scale * logit + self.shift)

    @property
    def temperature(self) -> float:
        return 1 / self.scale


@dataclass(frozen=True, slots=True)
class Bin:
    """The pairs whose probability lies in [low, high): how many, their mean probability, the share that is relevant."""

    low: float
    high: float
    pairs: int
    probability: float
    relevant: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities are from frequencies. `ece` is the expected calibration error over bins of equal width, `brier`
    the mean squared error, `log_loss` in nats; all are better when lower."""

    pairs: int
    relevant: int
    ece: float
    brier: float
    log_loss: float
    bins: tuple[Bin, ...]


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow on either side."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1 + grown)


def fit(data: Labelled, method: Method, *, model: str = "", prompt: str = "") -> Calibration:
    """The scaling of the least log loss on `data`. Raises InvalidInput where all pairs have the same label."""
    positives = sum(data.relevant)
    if positives in (0, len(data.relevant)):
        kind = "no relevant pair" if positives == 0 else "relevant pairs only"
        raise InvalidInput(
            f"calibration: {', '.join(data.sets)} has {kind}; both kinds are needed", param="fit", received=positives
        )
    logits = np.asarray(data.logits, dtype=np.float64)
    targets = _smoothed(np.asarray(data.relevant, dtype=bool))
    scale, shift = _least_log_loss(logits, targets, shifted=method == "platt")
    return Calibration(method, scale, shift, model, prompt, data.sets, len(data.logits))


def _smoothed(relevant: NDArray[np.bool_]) -> _Array:
    """Platt's targets: a finite optimum even where the logits separate the classes."""
    positives = int(relevant.sum())
    negatives = relevant.size - positives
    return np.where(relevant, (positives + 1) / (positives + 2), 1 / (negatives + 2)).astype(np.float64)


def _least_log_loss(logits: _Array, targets: _Array, *, shifted: bool) -> tuple[float, float]:
    """(scale, shift); the problem is convex, so an optimum beyond the bound of the scale lies on the bound."""
    ones = np.ones_like(logits)
    columns = np.stack([logits, ones] if shifted else [logits], axis=1)
    found = _newton(columns, targets, np.zeros_like(logits))
    if found[0] >= _MIN_SCALE:
        return float(found[0]), float(found[1]) if shifted else 0.0
    if not shifted:
        return _MIN_SCALE, 0.0
    return _MIN_SCALE, float(_newton(ones[:, None], targets, _MIN_SCALE * logits)[0])


def _newton(columns: _Array, targets: _Array, offset: _Array) -> _Array:
    """The weights w that minimise the log loss of sigmoid(columns @ w + offset), by Newton's method with halved steps."""
    weights = np.zeros(columns.shape[1])
    loss = _mean_log_loss(columns @ weights + offset, targets)
    for _ in range(_MAX_STEPS):
        probabilities = _sigmoids(columns @ weights + offset)
        gradient = columns.T @ (probabilities - targets)
        spread = probabilities * (1 - probabilities)
        hessian = (columns * spread[:, None]).T @ columns + 1e-12 * np.eye(weights.size)
        step: _Array = np.linalg.solve(hessian, gradient).astype(np.float64)
        moved, lower = _shorter_until_better(columns, targets, offset, (weights, step, loss))
        if loss - lower <= 1e-15:
            return moved
        weights, loss = moved, lower
    return weights


def _shorter_until_better(
    columns: _Array, targets: _Array, offset: _Array, state: tuple[_Array, _Array, float]
) -> tuple[_Array, float]:
    weights, step, loss = state
    for halvings in range(40):
        moved = weights - step / 2**halvings
        lower = _mean_log_loss(columns @ moved + offset, targets)
        if lower <= loss:
            return moved, lower
    return weights, loss


def _sigmoids(values: _Array) -> _Array:
    return np.exp(-np.logaddexp(0.0, -values))


def _mean_log_loss(values: _Array, targets: _Array) -> float:
    """-mean(t log p + (1 - t) log(1 - p)) for p = sigmoid(value), without ever forming p."""
    return float(np.mean(np.logaddexp(0.0, -values) + (1 - targets) * values))


def reliability(data: Labelled, calibration: Calibration | None = None, *, bins: int = BINS) -> Reliability:
    """How reliable the probabilities are: those of `calibration`, or the model's own sigmoid(logit)."""
    if not data.logits:
        raise InvalidInput("calibration: no pair to judge", param="report", received=0)
    values = np.asarray(data.logits, dtype=np.float64)
    if calibration is not None:
        values = calibration.scale * values + calibration.shift
    relevant = np.asarray(data.relevant, dtype=np.float64)
    probabilities = _sigmoids(values)
    filled = _bins(probabilities, relevant, bins)
    return Reliability(
        pairs=relevant.size,
        relevant=int(relevant.sum()),
        ece=sum(one.pairs * abs(one.probability - one.relevant) for one in filled) / relevant.size,
        brier=float(np.mean((probabilities - relevant) ** 2)),
        log_loss=_mean_log_loss(values, relevant),
        bins=filled,
    )


def _bins(probabilities: _Array, relevant: _Array, count: int) -> tuple[Bin, ...]:
    """The bins that hold a pair; the last one includes 1."""
    places = np.minimum((probabilities * count).astype(np.int64), count - 1)
    filled = []
    for place in np.unique(places):
        inside = places == place
        means = float(probabilities[inside].mean()), float(relevant[inside].mean())
        filled.append(Bin(float(place / count), float((place + 1) / count), int(inside.sum()), *means))
    return tuple(filled)


def to_json(calibration: Calibration) -> str:
    return json.dumps({"format": FORMAT} | asdict(calibration), ensure_ascii=False, indent=2) + "\n"


def read(path: Path) -> Calibration:
    """The calibration in a file that `to_json` wrote; raises BadFile with the field that is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BadFile(f"calibration: {path}: {error}", param="calibration", received=str(path)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise BadFile(f"calibration: {path}: no calibration of format {FORMAT}", param="format", limit=FORMAT, received=found)
    return _checked(path, content)


def _checked(path: Path, content: Mapping[str, Any]) -> Calibration:
    def checked(name: str, wanted: str, accepts: Callable[[Any], bool]) -> Any:
        value = content.get(name)
        if not accepts(value):
            raise BadFile(f"calibration: {path}: {name} must be {wanted}", param=name, limit=wanted, received=value)
        return value

    checked("scale", "a number", _is_number)
    return Calibration(
        method=checked("method", f"one of {', '.join(METHODS)}", lambda value: value in METHODS),
        scale=float(checked("scale", "above 0", lambda value: value > 0)),
        shift=float(checked("shift", "a number", _is_number)),
        model=checked("model", "a text", lambda value: isinstance(value, str)),
        prompt=checked("prompt", "a text", lambda value: isinstance(value, str)),
        sets=tuple(checked("sets", "a list of names", _is_names)),
        pairs=checked("pairs", "a whole number", lambda value: isinstance(value, int)),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
