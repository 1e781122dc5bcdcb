"""What operators see: metrics, log lines, spans, and the API's description."""

import json
import logging
import re
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from asgi import ask, getting, posting
from gigarank.engine.meter import Counters
from gigarank.engine.work import Timing
from gigarank.errors import Overloaded, WorkerFailed
from gigarank.service.app import ROUTES, create_app
from gigarank.service.backend import QueueState
from gigarank.service.call import Answer, Call, Route
from gigarank.service.fake import FakeBackend
from gigarank.service.http.exchange import Exchange
from gigarank.service.http.logs import JsonLines, log_exchange, log_to_stderr, where
from gigarank.service.http.tracing import OpenTelemetrySpans
from gigarank.service.settings import Settings

TIMING = Timing(20.0, 3.0, 70.0)


@dataclass(frozen=True)
class Counted:
    worker: Counters | None
    loads: int
    load_seconds: float
    memory_bytes: int


class Busy(FakeBackend):
    def queues(self) -> list[QueueState]:
        return [QueueState("fake", 2, 30, 4_000)]

    def counters(self) -> dict[str, Counted]:
        return {"fake": Counted(Counters(5, 1, 0, 700, 1_000, 2.5, 40, 7), 3, 1.5, 64), "asleep": Counted(None, 0, 0.0, 0)}


async def scored(call: Call) -> Answer:
    if call.body["query"] == "full":
        raise Overloaded("full", retry_after=1)
    if call.body["query"] == "dead":
        raise WorkerFailed("dead")
    return Answer({}, "fake", 3, 40, TIMING)


def app_of(spans: OpenTelemetrySpans | None = None) -> FastAPI:
    routes = [Route("POST", "/v1/rerank", scored, "", "rerank"), Route("POST", "/rerank", scored, "", "rerank", listed=False)]
    return create_app(Settings(), Busy(), routes, spans=spans)


# Metrics.


def samples(app: FastAPI, **headers: str) -> dict[str, float]:
    text = ask(app, getting("/metrics", **headers)).body.decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_requests_documents_tokens_and_stages_are_counted() -> None:
    app = app_of()
    for query in ("x", "x", "full"):
        ask(app, posting({"query": query}))
    ask(app, posting({}, "/nowhere/swordfish-4711"))
    found = samples(app)
    assert found['gigarank_requests_total{method="POST",route="/v1/rerank",status="200"}'] == 2
    assert found['gigarank_requests_total{method="POST",route="/v1/rerank",status="429"}'] == 1
    assert found['gigarank_requests_total{method="POST",route="unmatched",status="404"}'] == 1
    assert found['gigarank_documents_total{model="fake"}'] == 6
    assert found['gigarank_tokens_total{model="fake"}'] == 80
    assert found['gigarank_stage_seconds_sum{stage="inference"}'] == pytest.approx(0.14)
    assert found['gigarank_stage_seconds_sum{stage="queue"}'] == pytest.approx(0.04)
    assert found['gigarank_stage_seconds_count{stage="other"}'] == 2
    assert found['gigarank_request_seconds_count{route="/v1/rerank"}'] == 3
    assert found['gigarank_body_bytes_total{direction="in"}'] > 30
    assert found["gigarank_requests_in_flight"] == 1  # the one that asks
    assert "swordfish-4711" not in str(found)


def test_the_backends_queues_states_and_counters_are_read_when_asked() -> None:
    found = samples(app_of())
    assert [found[f'gigarank_queue_{unit}{{model="fake"}}'] for unit in ("requests", "pairs", "tokens")] == [2, 30, 4_000]
    assert found['gigarank_model_state{model="fake",state="ready"}'] == 1
    assert found['gigarank_model_state{model="fake",state="failed"}'] == 0
    counted: dict[str, float] = {
        "batches": 5,
        "interruptions": 1,
        "failed_batches": 0,
        "batch_tokens": 700,
        "batch_room_tokens": 1_000,
    }
    counted |= {"busy_seconds": 2.5, "model_loads": 3, "model_load_seconds": 1.5}
    counted |= {"score_cache_hits": 40, "score_cache_misses": 7}
    assert {name: found[f'gigarank_{name}_total{{model="fake"}}'] for name in counted} == counted
    assert found['gigarank_model_memory_bytes{model="fake"}'] == 64
    assert found['gigarank_model_loads_total{model="asleep"}'] == 0
    assert 'gigarank_batches_total{model="asleep"}' not in found
    assert not [name for name in samples(create_app(Settings(), FakeBackend(), [])) if "batch" in name]


def test_two_apps_count_for_themselves() -> None:
    first, second = app_of(), app_of()
    ask(first, posting({"query": "x"}))
    assert 'gigarank_documents_total{model="fake"}' not in samples(second)


def test_openmetrics_where_the_reader_wants_it() -> None:
    reply = ask(app_of(), getting("/metrics", accept="application/openmetrics-text; version=1.0.0"))
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.body.endswith(b"# EOF\n")
    assert ask(app_of(), getting("/metrics")).headers["content-type"].startswith("text/plain")


# Logs.


def formatted(record: logging.LogRecord) -> Any:
    return json.loads(JsonLines().format(record))


def failing() -> BaseException:
    try:
        raise ValueError("launch code swordfish-4711")
    except ValueError as error:
        return error


def test_a_log_line_is_one_json_object_with_the_time_in_utc() -> None:
    record = logging.LogRecord("gigarank", logging.WARNING, "x.py", 1, "kept %d\n", (3,), None)
    record.created = 1_764_000_000.25
    assert formatted(record) == {
        "time": "2025-11-24T16:00:00.250Z",
        "level": "warning",
        "logger": "gigarank",
        "message": "kept 3",
    }


def test_an_exception_is_logged_by_type_and_place_and_not_by_its_message() -> None:
    error = failing()
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "x.py", 1, "oh", (), (type(error), error, None))
    line = formatted(record)
    assert re.fullmatch(r"ValueError at test_app_watching.py:\d+ failing", line["defect"])
    assert "swordfish-4711" not in json.dumps(line)
    assert where(ValueError("swordfish-4711")) == "ValueError at an unknown place"


def test_a_defect_is_an_error_and_the_rest_is_information(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gigarank.access")
    log_exchange(Exchange("a", "POST", "/x", 500, 1.0, defect="KeyError at x.py:1 y"))
    log_exchange(Exchange("b", "POST", "/x", 200, 1.0))
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    caplog.clear()
    caplog.set_level(logging.WARNING, "gigarank.access")
    log_exchange(Exchange("b", "POST", "/x", 200, 1.0))
    assert caplog.records == []


def test_the_process_logs_json_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        log_to_stderr("info")
        logging.getLogger("gigarank.x").info("hello")
        logging.getLogger("uvicorn.error").info("chatter")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [json.loads(line)["message"] for line in captured.err.splitlines()] == ["hello"]


# Spans.


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> OpenTelemetrySpans:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetrySpans(provider)


def test_a_request_is_a_span_with_its_stages(spans: OpenTelemetrySpans, exporter: InMemorySpanExporter) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ask(app_of(spans), posting({"query": "x"}, traceparent=parent, x_request_id="r-1"))
    *stages, request = exporter.get_finished_spans()
    assert request.name == "POST /v1/rerank"
    assert request.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C
    assert request.parent is not None and request.parent.span_id == 0xB7AD6B7169203331
    assert request.attributes is not None
    assert request.attributes["gigarank.request_id"] == "r-1" and request.attributes["gigarank.documents"] == 3
    assert request.attributes["http.response.status_code"] == 200
    assert [stage.name for stage in stages] == ["tokenize", "queue", "inference"]
    assert all(stage.parent is not None and stage.parent.span_id == request.context.span_id for stage in stages)
    lengths = [stage.end_time - stage.start_time for stage in stages if stage.end_time and stage.start_time]
    assert lengths == [3_000_000, 20_000_000, 70_000_000]


def test_a_failure_of_ours_marks_its_span(spans: OpenTelemetrySpans, exporter: InMemorySpanExporter) -> None:
    app = app_of(spans)
    ask(app, posting({"query": "dead"}))
    ask(app, posting({"query": "full"}))
    dead, full = exporter.get_finished_spans()
    assert (dead.status.status_code, full.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)


def test_spans_hold_no_text(spans: OpenTelemetrySpans, exporter: InMemorySpanExporter) -> None:
    app = create_app(Settings(), FakeBackend(), spans=spans)
    ask(
        app,
        posting(
            {"query": "launch code swordfish-4711", "documents": ["swordfish-4711"]}, authorization="Bearer swordfish-4711"
        ),
    )
    assert exporter.get_finished_spans()
    assert all("swordfish-4711" not in str(span.attributes) + span.name for span in exporter.get_finished_spans())


def test_an_endpoint_without_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ValueError, match=r"otlp_endpoint: .*pip install 'gigarank\[otel\]'"):
        create_app(Settings(otlp_endpoint="http://127.0.0.1:4318/v1/traces"), FakeBackend(), [])


# The description.


def described(app: FastAPI) -> Any:
    return ask(app, getting("/openapi.json")).json


def test_the_description_holds_the_listed_routes_and_the_probes() -> None:
    document = described(app_of())
    assert list(document["paths"]) == ["/v1/rerank", "/health", "/ready"]
    assert document["openapi"] == "3.1.0"


def test_the_description_is_the_same_every_time_and_the_frameworks_own() -> None:
    first, second = create_app(Settings(), FakeBackend()), create_app(Settings(), FakeBackend())
    raw = [ask(app, getting("/openapi.json")).body for app in (first, second)]
    assert raw[0] == raw[1]
    assert json.loads(raw[0]) == first.openapi()


def test_every_operation_is_whole() -> None:
    document = described(create_app(Settings(), FakeBackend()))
    names = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names.append(operation["operationId"])
            assert operation["summary"] and operation["tags"], path
            good = [answer for status, answer in operation["responses"].items() if status < "400"]
            assert good and all(answer["content"]["application/json"]["schema"] for answer in good), path
            assert {"400", "401", "413", "429", "500", "503"} <= set(operation["responses"]), path
            asks = method == "post" and not path.endswith(("/cancel", "/sign-out", "/sign-out-everywhere"))
            assert ("requestBody" in operation) == asks, path
            assert [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"] == re.findall(r"\{(\w+)\}", path)
    assert len(names) == len(set(names))


def test_every_reference_has_its_target() -> None:
    document = described(create_app(Settings(), FakeBackend()))
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        target = document
        for part in reference.split("/"):
            target = target[part]
        assert target


def test_every_route_is_served_where_it_says() -> None:
    """No two routes share a method and a path, or the second would never be reached."""
    places = [(route.method, route.path) for route in ROUTES]
    assert len(places) == len(set(places))
