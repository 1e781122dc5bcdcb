"""What the pages tell of a model: what is known of it, whether this server has it, what it costs and who asks for it.

Knows the catalogue and the backend's states, no HTML and no database. Invariant: every known model and every served one is
listed, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gigarank import catalogue
from gigarank.catalogue import SUITES, Model
from gigarank.errors import ObjectNotFound
from gigarank.service.backend import Kind, ModelState
from gigarank.service.offered import find_model

Tone = Literal["good", "calm", "warn", "bad"]
_SERVED: Mapping[str, tuple[str, Tone]] = {
    "ready": ("live", "good"),
    "sleeping": ("live, asleep", "good"),
    "loading": ("loading", "warn"),
    "failed": ("failing", "bad"),
}
_COMING: Mapping[str, str] = {
    "benchmarking": "coming soon: being measured",
    "onboarding": "coming soon: being set up",
    "retired": "retired",
}
_KINDS: Mapping[Kind, str] = {"reranker": "text reranking", "embedder": "text embedding"}
_ARCHITECTURES: Mapping[Kind, str] = {"reranker": "cross-encoder (decoder)", "embedder": "bi-encoder (decoder)"}
_SCORING: Mapping[Kind, str] = {
    "reranker": "logit(yes) - logit(no); probability by the sigmoid",
    "embedder": "dot product of vectors of length 1",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server with accounts knows of a model. `price`: as people read it; "" without accounts. `figures`: of onboarding,
    see catalogue/schemas.py."""

    state: str = ""
    votes: int = 0
    price: str = ""
    figures: Sequence[Mapping[str, Any]] = ()
    retires: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """`model` None: one that is served and in no list. `served` None: one that this server has not got."""

    name: str
    model: Model | None
    served: ModelState | None
    offer: Offer = field(default_factory=Offer)

    @property
    def live(self) -> bool:
        return self.served is not None

    @property
    def label(self) -> str:
        if self.served is not None:
            return _SERVED[self.served.state][0]
        return _COMING.get(self.offer.state, "coming soon")

    @property
    def tone(self) -> Tone:
        return "calm" if self.served is None else _SERVED[self.served.state][1]

    @property
    def kind(self) -> Kind:
        return self.model.kind if self.model is not None else self.served.kind if self.served is not None else "reranker"

    @property
    def summary(self) -> str:
        if self.model is not None:
            return self.model.summary
        return "" if self.served is None else self.served.description

    @property
    def parameters(self) -> int | None:
        return None if self.model is None else self.model.parameters

    @property
    def context_tokens(self) -> int:
        if self.model is not None:
            return self.model.context_tokens
        return 0 if self.served is None else self.served.max_pair_tokens

    @property
    def published(self) -> Mapping[str, float]:
        return {} if self.model is None else self.model.published

    @property
    def gflop(self) -> float | None:
        """For each token: two for each weight of the layers."""
        if self.model is None:
            return None
        shape = self.model.shape
        attention = shape.hidden_size * shape.head_dim * 2 * (shape.num_attention_heads + shape.num_key_value_heads)
        return 2e-9 * shape.num_hidden_layers * (attention + 3 * shape.hidden_size * shape.intermediate_size)

    @property
    def specs(self) -> list[tuple[str, str]]:
        told = [("Task", _KINDS[self.kind]), ("Architecture", _ARCHITECTURES[self.kind])]
        if self.model is not None:
            told += [("Parameters", f"{self.model.parameters:,}"), ("Licence", self.model.licence.replace("-", " "))]
        told += [("Context", f"{self.context_tokens:,} tokens"), ("Scoring", _SCORING[self.kind])]
        if self.gflop is not None:
            told.append(("Work", f"{self.gflop:.3g} GFLOP a token"))
        if self.served is not None and self.served.dtype:
            told.append(("Precision here", self.served.dtype))
        return told


def entries(states: Sequence[ModelState], offers: Mapping[str, Offer] | None = None) -> list[Entry]:
    """The known ones first, rerankers before others and large before small. `offers`: by their names."""
    told = offers or {}
    models = sorted(catalogue.MODELS, key=lambda model: (model.kind != "reranker", -model.parameters))
    known = [_entry(model.name, model, _served(model, states), told) for model in models]
    names = {entry.served.name for entry in known if entry.served is not None}
    return [*known, *(_entry(state.name, None, state, told) for state in states if state.name not in names)]


def entry_of(name: str, states: Sequence[ModelState], offers: Mapping[str, Offer] | None = None) -> Entry:
    """Of a name, or else of an alias. Raises ObjectNotFound."""
    model, state, every = catalogue.find(name), find_model(states, name), entries(states, offers)
    for entry in every:
        if (model is not None and entry.model is model) or entry.name == name:
            return entry
    for entry in every:
        if state is not None and entry.served is state:
            return entry
    raise ObjectNotFound(f"model: no {name[:80]!r} in the catalogue", param="model", received=name[:80])


def chosen(every: Sequence[Entry], words: str, kind: str, state: str) -> list[Entry]:
    """Those that a form's filter leaves; "" leaves all."""
    wanted = words.lower().split()
    found = [one for one in every if all(word in f"{one.name} {one.summary}".lower() for word in wanted)]
    found = [one for one in found if kind in ("", one.kind)]
    return [one for one in found if not state or one.live == (state == "live")]


def mean_published(entry: Entry) -> float | None:
    """Over the suites that measure retrieval; following instructions has another scale."""
    values = [value for suite, value in entry.published.items() if suite != SUITES[-1]]
    return sum(values) / len(values) if values else None


def _entry(name: str, model: Model | None, state: ModelState | None, offers: Mapping[str, Offer]) -> Entry:
    return Entry(name, model, state, offers.get(name, Offer()))


def _served(model: Model, states: Sequence[ModelState]) -> ModelState | None:
    same = (state for state in states if state.repository.lower() == model.repository.lower())
    return find_model(states, model.name) or find_model(states, model.repository) or next(same, None)
