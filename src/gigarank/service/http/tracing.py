"""OpenTelemetry spans, where the package is installed and an endpoint is named; nothing otherwise.

Knows an Exchange, after the fact: a span is made when the answer is out, with the times that were measured, so that a
request pays nothing before. Invariant: a span holds what the log line holds, no text and no key.
"""

import importlib
import time
from collections.abc import Mapping
from typing import Any, Protocol

from gigarank.errors import InvalidInput
from gigarank.service.http.exchange import Exchange


class Spans(Protocol):
    def record(self, exchange: Exchange, headers: Mapping[str, str]) -> None: ...

    def close(self) -> None: ...


class OpenTelemetrySpans:
    """A span a request, with one child a stage; its parent is the request's traceparent. `provider`: a TracerProvider."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("gigarank")
        self._trace = importlib.import_module("opentelemetry.trace")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._propagator = propagation.TraceContextTextMapPropagator()

    def record(self, exchange: Exchange, headers: Mapping[str, str]) -> None:
        end = time.time_ns()
        start = end - int(exchange.total_ms * 1e6)
        parent = self._propagator.extract(dict(headers))
        name = f"{exchange.method} {exchange.route}"
        kind = self._trace.SpanKind.SERVER
        span = self._tracer.start_span(name, context=parent, kind=kind, start_time=start, attributes=_attributes(exchange))
        if exchange.status >= 500:
            span.set_status(self._trace.StatusCode.ERROR, exchange.error)
        if exchange.model:
            self._stages(exchange, self._trace.set_span_in_context(span), start)
        span.end(end)

    def _stages(self, exchange: Exchange, context: Any, start: int) -> None:
        timing = exchange.timing
        at = start
        for stage, milliseconds in (
            ("tokenize", timing.tokenize_ms),
            ("queue", timing.queued_ms),
            ("inference", timing.inference_ms),
        ):
            span = self._tracer.start_span(stage, context=context, start_time=at)
            at += int(milliseconds * 1e6)
            span.end(at)

    def close(self) -> None:
        self._provider.shutdown()


def _attributes(exchange: Exchange) -> dict[str, str | int]:
    return {
        "http.request.method": exchange.method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        "gigarank.request_id": exchange.request_id,
        "gigarank.model": exchange.model,
        "gigarank.documents": exchange.documents,
        "gigarank.tokens": exchange.tokens,
    }


def exporting_spans(endpoint: str) -> Spans:
    """Spans that go to an OTLP/HTTP collector, as http://127.0.0.1:4318/v1/traces. Raises InvalidInput without the package."""
    try:
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        message = f"otlp_endpoint: {error.name} is not installed: pip install 'gigarank[otel]'"
        raise InvalidInput(message, param="otlp_endpoint", received=endpoint) from error
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "gigarank"}))
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=endpoint)))
    return OpenTelemetrySpans(provider)
