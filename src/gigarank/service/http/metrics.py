"""What Prometheus reads: counts and durations of requests, and what the backend says of its queues when it is asked.

Knows a request only as a line of `Exchange`. Invariant: every app has a registry of its own; labels come from the routes and
the models, never from what a client wrote.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gigarank.service.backend import ScoringBackend
from gigarank.service.http.exchange import Exchange

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STATES = ("ready", "sleeping", "loading", "failed")


class WorkerCounts(Protocol):
    """See engine.meter.Counters. `tokens` of `room_tokens` is how full the batches were."""

    @property
    def batches(self) -> int: ...
    @property
    def interruptions(self) -> int: ...
    @property
    def failed_batches(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def room_tokens(self) -> int: ...
    @property
    def busy_s(self) -> float: ...
    @property
    def score_hits(self) -> int: ...
    @property
    def score_misses(self) -> int: ...


class ModelCounts(Protocol):
    """See hosting.host.ModelCounters."""

    @property
    def worker(self) -> WorkerCounts | None: ...
    @property
    def loads(self) -> int: ...
    @property
    def load_seconds(self) -> float: ...
    @property
    def memory_bytes(self) -> int: ...


@runtime_checkable
class Counts(Protocol):
    """A backend may count for itself, by model."""

    def counters(self) -> Mapping[str, ModelCounts]: ...


class Metrics:
    """`observe` is called once a request; `exposition` when somebody reads /metrics."""

    def __init__(self, backend: ScoringBackend) -> None:
        registry = self._registry = CollectorRegistry()
        counter = partial(Counter, namespace="gigarank", registry=registry)
        histogram = partial(Histogram, namespace="gigarank", registry=registry, buckets=_SECONDS)
        self._requests = counter("requests", "Requests answered.", ("route", "method", "status"))
        self._documents = counter("documents", "Documents scored.", ("model",))
        self._tokens = counter("tokens", "Tokens computed, or kept from before.", ("model",))
        self._bytes = counter("body_bytes", "Bytes of requests and answers.", ("direction",))
        self._seconds = histogram("request_seconds", "From request to answer.", ("route",))
        self._stages = histogram("stage_seconds", "A scored request by stage.", ("stage",))
        self.in_flight = Gauge("requests_in_flight", "Requests being answered.", namespace="gigarank", registry=registry)
        self._registry.register(_BackendCollector(backend))
        ProcessCollector(registry=self._registry)

    def observe(self, exchange: Exchange) -> None:
        self._requests.labels(exchange.route, exchange.method, str(exchange.status)).inc()
        self._seconds.labels(exchange.route).observe(exchange.total_ms / 1e3)
        self._bytes.labels("in").inc(exchange.bytes_in)
        self._bytes.labels("out").inc(exchange.bytes_out)
        if exchange.model:
            self._documents.labels(exchange.model).inc(exchange.documents)
            self._tokens.labels(exchange.model).inc(exchange.tokens)
            for stage, milliseconds in exchange.stages():
                self._stages.labels(stage).observe(milliseconds / 1e3)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """(text, content type), in the format that the reader asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _BackendCollector(Collector):
    def __init__(self, backend: ScoringBackend) -> None:
        self._backend = backend

    def describe(self) -> Iterable[Metric]:
        return []  # what there is depends on the backend: nothing is asked of it before it has started

    def collect(self) -> Iterator[Metric]:
        yield from self._queues()
        yield self._states()
        if isinstance(self._backend, Counts):
            yield from _counted(self._backend.counters())

    def _queues(self) -> Iterator[Metric]:
        families = [
            GaugeMetricFamily(f"gigarank_queue_{unit}", f"Waiting {unit}.", labels=("model",))
            for unit in ("requests", "pairs", "tokens")
        ]
        for queue in self._backend.queues():
            waiting = (queue.waiting_requests, queue.waiting_pairs, queue.waiting_tokens)
            for family, value in zip(families, waiting, strict=True):
                family.add_metric((queue.model,), value)
        yield from families

    def _states(self) -> Metric:
        family = GaugeMetricFamily("gigarank_model_state", "1 for the state that a model is in.", labels=("model", "state"))
        for model in self._backend.models():
            for state in STATES:
                family.add_metric((model.name, state), float(model.state == state))
        return family


def _counted(counters: Mapping[str, ModelCounts]) -> Iterator[Metric]:
    awake = {model: counts.worker for model, counts in counters.items() if counts.worker is not None}
    yield _counter("batches", "Batches computed.", {m: w.batches for m, w in awake.items()})
    yield _counter("interruptions", "Batches computed in the pause of another.", {m: w.interruptions for m, w in awake.items()})
    yield _counter("failed_batches", "Batches that ended in an error.", {m: w.failed_batches for m, w in awake.items()})
    yield _counter("batch_tokens", "Tokens in batches.", {m: w.tokens for m, w in awake.items()})
    yield _counter("batch_room_tokens", "Tokens that batches could have held.", {m: w.room_tokens for m, w in awake.items()})
    yield _counter("busy_seconds", "Seconds of computing.", {m: w.busy_s for m, w in awake.items()})
    yield _counter("score_cache_hits", "Prompts whose score was kept.", {m: w.score_hits for m, w in awake.items()})
    yield _counter("score_cache_misses", "Prompts whose score was not.", {m: w.score_misses for m, w in awake.items()})
    yield _counter("model_loads", "Loads into memory.", {m: c.loads for m, c in counters.items()})
    yield _counter("model_load_seconds", "Seconds of loading.", {m: c.load_seconds for m, c in counters.items()})
    memory = GaugeMetricFamily("gigarank_model_memory_bytes", "Memory taken now.", labels=("model",))
    for model, counts in counters.items():
        memory.add_metric((model,), counts.memory_bytes)
    yield memory


def _counter(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"gigarank_{name}", text, labels=("model",))
    for model, value in values.items():
        family.add_metric((model,), value)
    return family
