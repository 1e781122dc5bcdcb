"""A recipe: a TOML file that says what is trained from what, stage by stage.

Knows names and numbers; opens no data and no model. Invariant: a recipe that was read can be run as it stands: every key is
known, every number within its range, and no two settings contradict each other.
"""

import dataclasses
import re
import sys
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from gigarank.errors import BadFile

MISSING = "training needs the packages of gigarank[train]: pip install 'gigarank[train]'"
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The matrices of a decoder layer, by the names of transformers."""
LISTWISE = ("infonce", "listnet", "lambda", "ranknet", "margin_mse", "mse", "kl", "bce", "sft")
"""The losses of a reranker."""
TAUGHT = frozenset({"margin_mse", "mse", "kl"})
"""Losses against a teacher's scores."""
COMPARING = frozenset({"infonce", "listnet", "lambda", "ranknet", "margin_mse", "kl"})
"""Losses that are zero for a document alone."""
EMBEDDER_LOSSES = ("infonce",)
SEEDS = 2**32
"""How many seeds numpy knows, which transformers seeds too."""
_FOLDER = re.compile(r"\w[\w. -]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """`name`: a model's name, a hub id or a folder. `dtype` of what is not trained; what is trained is fp32."""

    name: str = "nano"
    kind: Literal["reranker", "embedder"] = "reranker"
    revision: str | None = None
    dtype: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """`layer_replication`, by peft's name: which of the base's layers the model has, as ranges [first, behind the last]; all
    (None). `layers`: which of these by number, the last n where it is a negative number, or all (None). `start`: the folder of
    an adapter of this table's rank, scale, layers and matrices that is trained on, instead of a new one."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    dora: bool = False
    rslora: bool = False
    layer_replication: tuple[tuple[int, ...], ...] | None = None
    layers: tuple[int, ...] | int | None = None
    targets: tuple[str, ...] = LINEARS
    start: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A file of rows. `share` of its rows are taken in an epoch, drawn anew each time; above 1 rows are repeated.
    `instruction` holds for rows without their own."""

    path: Path
    share: float = 1.0
    instruction: str | None = None
    max_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage. `losses`: name -> weight. `steps` None: `epochs` over the data. A step takes `queries` in all processes
    together, `at_once` of them in one forward of one process, each with at most `documents`; `in_batch` documents of the
    step's other queries are added to each as negatives. `temperature` divides the logits in infonce, listnet and kl. A negative
    whose teacher's score exceeds the lowest positive's by more than `false_negative_margin` is left out of infonce."""

    name: str
    losses: Mapping[str, float]
    data: tuple[Data, ...]
    epochs: float = 1.0
    steps: int | None = None
    queries: int = 16
    at_once: int = 1
    documents: int = 8
    in_batch: int = 0
    temperature: float = 1.0
    false_negative_margin: float | None = None
    learning_rate: float = 1e-4
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_document_tokens: int | None = None
    max_query_tokens: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dev:
    """When to stop: every `every` steps `sets` (BEIR folders) are evaluated, `limit` queries of each with `top_k` candidates;
    after `patience` times without a better mean of `metric` the stage ends, and goes back to its best weights."""

    sets: tuple[Path, ...]
    every: int = 100
    patience: int = 3
    metric: str = "ndcg_cut_10"
    limit: int = 40
    top_k: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """`lora` None: all weights are trained. Every `save_every` steps a checkpoint is kept, from which a run that was ended goes
    on."""

    stage: tuple[Stage, ...]
    base: Base = field(default_factory=Base)
    lora: Lora | None = None
    dev: Dev | None = None
    save_every: int = 100
    gradient_checkpointing: bool = False


def read_recipe(path: Path) -> Recipe:
    """Reads and checks a recipe; relative paths in it are the recipe's folder's. Raises BadFile that names file and key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: cannot be read: {error.strerror}", param="recipe", received=str(path)) from error
    except ValueError as error:
        raise BadFile(f"{path}: not TOML: {error}", param="recipe", received=str(path)) from error
    recipe: Recipe = _Reader(path).table(Recipe, raw, "")
    _Checks(path).recipe(recipe)
    return recipe


class _Reader:
    """From TOML's values to the dataclasses, by their types."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def table(self, kind: type[Any], raw: object, key: str) -> Any:
        if not isinstance(raw, dict):
            self.refuse(key, "must be a table", raw)
        known = {item.name: item for item in fields(kind)}
        if unknown := [name for name in raw if name not in known]:
            self.refuse(_join(key, unknown[0]), f"no such key; known: {', '.join(known)}", unknown[0])
        for name, item in known.items():
            if name not in raw and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                self.refuse(_join(key, name), "is missing", None)
        hints = get_type_hints(kind)
        return kind(**{name: self.value(hints[name], given, _join(key, name)) for name, given in raw.items()})

    def value(self, hint: Any, given: Any, key: str) -> Any:
        origin, inner = get_origin(hint), get_args(hint)
        if origin in (types.UnionType, Union):
            return self.union([one for one in inner if one is not types.NoneType], given, key)
        if origin is tuple:
            return self.sequence(inner[0], given, key)
        if origin is Literal:
            if given not in inner:
                self.refuse(key, f"must be one of {', '.join(inner)}", given)
            return given
        if origin is not None:
            return self.weights(given, key)
        if hint is Path:
            return self.path.parent / Path(self.scalar(str, given, key)).expanduser()
        return self.table(hint, given, key) if hasattr(hint, "__dataclass_fields__") else self.scalar(hint, given, key)

    def union(self, kinds: list[Any], given: Any, key: str) -> Any:
        lists = [one for one in kinds if get_origin(one) is tuple]
        chosen = lists[0] if lists and isinstance(given, list) else next(one for one in kinds if one not in lists)
        return self.value(chosen, given, key)

    def sequence(self, kind: Any, given: Any, key: str) -> tuple[Any, ...]:
        if not isinstance(given, list) or not given:
            self.refuse(key, "must be a list that is not empty", given)
        return tuple(self.value(kind, one, f"{key}[{index}]") for index, one in enumerate(given))

    def weights(self, given: Any, key: str) -> dict[str, float]:
        if not isinstance(given, dict) or not given:
            self.refuse(key, "must be a table of losses and their weights", given)
        return {name: self.scalar(float, weight, _join(key, name)) for name, weight in given.items()}

    def scalar(self, kind: type[Any], given: Any, key: str) -> Any:
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(given, accepted) or (isinstance(given, bool) and kind is not bool):
            names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
            self.refuse(key, f"must be {names[kind]}", given)
        if kind is float and not -sys.float_info.max <= given <= sys.float_info.max:
            self.refuse(key, "must be finite", given)
        return kind(given)

    def refuse(self, key: str, reason: str, received: object, limit: object = None) -> NoReturn:
        shown = "" if received is None else f", not {received!r:.80}"
        raise BadFile(f"{self.path}: {key}: {reason}{shown}", param=key, limit=limit, received=received)


class _Checks(_Reader):
    """Ranges, and what does not go together."""

    def recipe(self, recipe: Recipe) -> None:
        self.at_least("save_every", recipe.save_every, 1)
        if recipe.lora is not None:
            self.lora(recipe.lora)
        names = [stage.name for stage in recipe.stage]
        for index, stage in enumerate(recipe.stage):
            if stage.name in names[:index]:
                self.refuse(f"stage[{index}].name", "is another stage's name", stage.name)
            if not _FOLDER.fullmatch(stage.name):
                self.refuse(f"stage[{index}].name", "is a folder's name too: letters, digits, blanks, . _ -", stage.name)
            self.stage(stage, f"stage[{index}]", recipe.base.kind)
        if recipe.dev is not None and recipe.base.kind == "embedder":
            self.refuse("dev", "is measured by reranking, which an embedder does not do; leave it out", None)
        if recipe.dev is not None:
            for name in ("every", "patience", "limit", "top_k"):
                self.at_least(f"dev.{name}", getattr(recipe.dev, name), 1)

    def lora(self, lora: Lora) -> None:
        self.at_least("lora.rank", lora.rank, 1)
        self.above("lora.alpha", lora.alpha, 0)
        self.within("lora.dropout", lora.dropout, 0, 1)
        if unknown := [name for name in lora.targets if name not in LINEARS]:
            self.refuse("lora.targets", f"known: {', '.join(LINEARS)}", unknown[0])
        for index, one in enumerate(lora.layer_replication or ()):
            if len(one) != 2 or not 0 <= one[0] < one[1]:
                self.refuse(f"lora.layer_replication[{index}]", "must be [first, behind the last], from 0", list(one))
        if isinstance(lora.layers, int) and lora.layers >= 0:
            self.refuse("lora.layers", "must be a list of numbers, or -n for the last n layers", lora.layers)
        if isinstance(lora.layers, tuple) and min(lora.layers) < 0:
            self.refuse("lora.layers", "a list counts from 0", min(lora.layers))

    def stage(self, stage: Stage, key: str, kind: str) -> None:
        known = EMBEDDER_LOSSES if kind == "embedder" else LISTWISE
        for name, weight in stage.losses.items():
            if name not in known:
                self.refuse(f"{key}.losses.{name}", f"no loss of a {kind}; known: {', '.join(known)}", name)
            self.above(f"{key}.losses.{name}", weight, 0)
        for name in ("queries", "at_once", "documents", "steps", "max_document_tokens", "max_query_tokens"):
            self.at_least(f"{key}.{name}", getattr(stage, name), 1)
        for name in ("in_batch", "weight_decay", "max_grad_norm"):
            self.at_least(f"{key}.{name}", getattr(stage, name), 0)
        for name in ("epochs", "temperature", "learning_rate"):
            self.above(f"{key}.{name}", getattr(stage, name), 0)
        self.within(f"{key}.warmup", stage.warmup, 0, 1)
        self.within(f"{key}.seed", stage.seed, 0, SEEDS)
        self.mix(stage, key, kind)
        for index, data in enumerate(stage.data):
            self.above(f"{key}.data[{index}].share", data.share, 0)
            self.at_least(f"{key}.data[{index}].max_rows", data.max_rows, 1)

    def mix(self, stage: Stage, key: str, kind: str) -> None:
        alone = stage.documents == 1 and not (stage.at_once > 1 if kind == "embedder" else stage.in_batch)
        if alone and (comparing := [name for name in stage.losses if name in COMPARING]):
            way_out = "at_once above 1" if kind == "embedder" else "in_batch"
            names = ", ".join(comparing)
            self.refuse(f"{key}.documents", f"{names}: nothing to compare with; at least 2, or {way_out}", stage.documents, 2)
        if stage.queries % stage.at_once:
            self.refuse(f"{key}.at_once", f"must divide queries ({stage.queries})", stage.at_once, stage.queries)
        if stage.in_batch and stage.queries == 1:
            self.refuse(f"{key}.in_batch", "a step of one query has no others to take documents from", stage.in_batch)
        if stage.in_batch and TAUGHT & set(stage.losses):
            taught = ", ".join(sorted(TAUGHT & set(stage.losses)))
            self.refuse(
                f"{key}.in_batch", f"other queries' documents have no teacher's score, which {taught} needs", stage.in_batch
            )
        if kind == "embedder" and stage.in_batch:
            self.refuse(f"{key}.in_batch", "an embedder takes all documents of a forward as negatives anyway", stage.in_batch)

    def at_least(self, key: str, value: float | None, least: float) -> None:
        if value is not None and not value >= least:
            self.refuse(key, f"must be at least {least}", value, least)

    def above(self, key: str, value: float, bound: float) -> None:
        if not value > bound:
            self.refuse(key, f"must be above {bound}", value, bound)

    def within(self, key: str, value: float, least: float, below: float) -> None:
        if not least <= value < below:
            self.refuse(key, f"must be from {least} to below {below}", value, [least, below])


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
