"""What operators ask: whether the process lives, whether it can answer, what it has counted, what it offers.

Invariant: the probes answer while models load and while the server drains; they need no model.
"""

from gigarank.errors import ModelLoading, ShuttingDown
from gigarank.service.call import Answer, Call, Endpoint, Route, Routes
from gigarank.service.http.dispatch import Lifecycle
from gigarank.service.http.metrics import Metrics
from gigarank.types import JsonObject

_STATUS: JsonObject = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}


def probes(lifecycle: Lifecycle, metrics: Metrics, metrics_public: bool) -> Routes:
    return (
        Route("GET", "/health", health, "Whether the process lives", "operations", response=_STATUS, public=True),
        Route("GET", "/ready", _ready(lifecycle), "Whether it can answer", "operations", response=_STATUS, public=True),
        Route(
            "GET",
            "/metrics",
            _exposition(metrics),
            "Counters and histograms, as Prometheus reads them",
            "operations",
            listed=False,
            public=metrics_public,
        ),
    )


async def health(call: Call) -> Answer:
    return Answer({"status": "ok"})


def _ready(lifecycle: Lifecycle) -> Endpoint:
    async def ready(call: Call) -> Answer:
        if lifecycle.draining:
            raise ShuttingDown("the server is shutting down", retry_after=5.0)
        if not call.backend.ready():
            states = ", ".join(f"{model.name}: {model.state}" for model in call.backend.models() if model.pinned)
            raise ModelLoading(f"not every model is ready: {states or 'starting'}", retry_after=1.0)
        return Answer({"status": "ready"})

    return ready


def _exposition(metrics: Metrics) -> Endpoint:
    async def exposition(call: Call) -> Answer:
        text, content_type = metrics.exposition(call.headers.get("accept", ""))
        return Answer(text, headers={"content-type": content_type})

    return exposition


def description(document: JsonObject) -> Route:
    async def openapi(call: Call) -> Answer:
        return Answer(document)

    return Route("GET", "/openapi.json", openapi, "This description", "operations", listed=False, public=True)
