"""A question about capacity, and its answer: from what is asked to simulated runs and the figures out of them.

Knows the parts and no command line. Invariant: an answer names every fact on which it rests, and whether it was measured.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from gigarank import catalogue
from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.profiles import Fact, Profile, basis_of
from gigarank.cluster.capacity.replica import Bounds
from gigarank.cluster.capacity.search import Slo, Tried, smallest
from gigarank.cluster.capacity.simulation import Fleet, simulate
from gigarank.cluster.capacity.summary import Amounts, cost, figures, warm_up
from gigarank.cluster.capacity.traffic import PROMPTS, QUERY_TOKENS, SPREAD, Arrival, Traffic, arrivals
from gigarank.errors import InvalidInput
from gigarank.types import JsonObject

_FEW = 100
_DEFAULT_PROMPT = "qwen3-v1"


@dataclass(frozen=True, slots=True)
class Question:
    """`slo` or `replicas`: the smallest number that keeps the promise, or this one. `split_tokens`, `batch_tokens`: None is
    whole requests, and the profile's own number. `price_per_hour`: of a replica; None says nothing of cost."""

    rate: float
    documents: int
    tokens: int
    slo: Slo | None = None
    replicas: int | None = None
    query_tokens: int = QUERY_TOKENS
    burst: float = 1.0
    split_tokens: int | None = None
    batch_tokens: int | None = None
    price_per_hour: float | None = None
    requests: int = 3_000
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.slo is None) == (self.replicas is None):
            raise InvalidInput("slo: give either a promise, such as p99=500ms, or a number of replicas", param="slo")
        for name, least in (("replicas", 1), ("split_tokens", 1), ("batch_tokens", 1), ("requests", _FEW)):
            if (value := getattr(self, name)) is not None and value < least:
                raise InvalidInput(f"{name}: at least {least}, not {value}", param=name, limit=least, received=value)
        if self.price_per_hour is not None and not 0.0 <= self.price_per_hour < math.inf:
            message = f"price: of a replica an hour, not {self.price_per_hour}"
            raise InvalidInput(message, param="price", limit=0, received=self.price_per_hour)

    def traffic(self, prompt: str) -> Traffic:
        return Traffic(self.rate, self.documents, self.tokens, PROMPTS[prompt], self.query_tokens, self.burst, self.seed)


@dataclass(frozen=True, slots=True)
class Planned:
    """`chosen` is one of `tried`."""

    question: Question
    profile: Profile
    amounts: Amounts
    tried: Sequence[Tried]
    chosen: Tried
    facts: tuple[Fact, ...] = field(default=())

    def described(self) -> JsonObject:
        """Everything as one JSON object."""
        asked = asdict(self.question) | {"slo": None if self.question.slo is None else str(self.question.slo)}
        price = self.question.price_per_hour
        return {
            "model": self.profile.model,
            "hardware": self.profile.hardware,
            "asked": asked,
            "per_second": asdict(self.amounts),
            "result": figures(self.chosen.run),
            "cost": None if price is None else cost(self.amounts, self.chosen.replicas, price),
            "tried": [_described(one) for one in sorted(self.tried, key=lambda one: one.replicas)],
            "costs": asdict(self.profile.costs),
            "basis": basis_of(self.facts),
            "facts": [asdict(fact) for fact in self.facts],
        }


def answer(question: Question, profile: Profile, say: Callable[[str], None]) -> Planned:
    """Raises InvalidInput where the promise cannot be kept. `say` hears of every number of replicas that was tried."""
    asked = arrivals(question.traffic(prompt_of(profile.model)), question.requests)
    bounds = Bounds(batch_tokens=question.batch_tokens or profile.batch_tokens)
    fleet = Fleet(_alone_on_its_machine(profile.costs), question.replicas or 1, bounds, question.split_tokens)
    if question.slo is None:
        tried = [Tried(fleet.replicas, True, simulate(asked, fleet))]
    else:
        tried = smallest(asked, fleet, question.rate, question.slo, say)
        tried.append(_more(asked, fleet, tried))
    chosen = min((one for one in tried if one.met), key=lambda one: one.replicas)
    facts = (*profile.facts, *_simulated(question, bounds, asked))
    return Planned(question, profile, Amounts.of(asked, question.rate), tried, chosen, facts)


def _more(asked: Sequence[Arrival], fleet: Fleet, tried: Sequence[Tried]) -> Tried:
    """A tenth more replicas than are needed, at least one: what more of them would bring."""
    enough = min(one.replicas for one in tried if one.met)
    more = enough + math.ceil(enough / 10)
    return Tried(more, True, simulate(asked, replace(fleet, replicas=more)))


def prompt_of(model: str) -> str:
    """The prompt format of a known model; an unknown one is taken to be one of Qwen3's."""
    known = catalogue.find(model)
    return known.prompt if known is not None and known.prompt in PROMPTS else _DEFAULT_PROMPT


def _alone_on_its_machine(costs: Costs) -> Costs:
    return Costs(costs.layers, costs.batch_s, costs.token_s, costs.reach_s, costs.request_s, costs.document_s)


def _simulated(question: Question, bounds: Bounds, asked: Sequence[Arrival]) -> tuple[Fact, ...]:
    bursts = "" if question.burst == 1.0 else f", a tenth of the time at {question.burst:g} times the rate"
    sizes = f"documents and their tokens {SPREAD:.0%} more or fewer, {question.query_tokens} tokens a query"
    counted = f"{len(asked) - warm_up(len(asked)):,} of {len(asked):,} simulated requests are counted"
    split = f", in groups of at most {question.split_tokens} tokens" if question.split_tokens else ""
    return (
        Fact(f"requests come as a Poisson process{bursts}; {sizes}", "assumed", "the question"),
        Fact(
            f"to the replica with the fewest tokens{split}; each has its own machine",
            "assumed",
            "the question",
        ),
        Fact(f"the engine's own schedule, {bounds.batch_tokens:,} tokens a batch; {counted}", "assumed", "this simulation"),
    )


def _described(one: Tried) -> JsonObject:
    if one.run.given_up:
        return {"replicas": one.replicas, "met": False}
    return figures(one.run) | {"met": one.met}
