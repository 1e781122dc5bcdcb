"""One request from socket to answer, with endpoints of the test's own: what one gets, and what becomes of its answer."""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from asgi import Reply, Visit, ask, getting, posting, run, visit
from gigarank import errors
from gigarank.engine.work import Timing
from gigarank.errors import GigarankError
from gigarank.service.app import create_app
from gigarank.service.backend import ModelState
from gigarank.service.call import Answer, Call, Route
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings

SECRET = "the launch code is 4711"


class Recorder:
    """An endpoint that keeps its calls."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.calls: list[Call] = []
        self.answer = answer or Answer({"fine": True})

    async def __call__(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answer


async def broken(call: Call) -> Answer:
    raise KeyError(call.body["query"])


async def unwritable(call: Call) -> Answer:
    return Answer({"what": object()})


def raising(error: GigarankError) -> Any:
    async def endpoint(call: Call) -> Answer:
        raise error

    return endpoint


def app_of(endpoint: Any, settings: Settings | None = None, **route: Any) -> FastAPI:
    fields = {"method": "POST", "path": "/v1/rerank", "summary": "", "tag": "rerank", **route}
    return create_app(settings or Settings(), FakeBackend(), [Route(endpoint=endpoint, **fields)])


def logged(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The fields of the one line that a request leaves."""
    (record,) = [record for record in caplog.records if record.name == "gigarank.access"]
    fields: dict[str, Any] = record.fields  # type: ignore[attr-defined]
    return fields


# What an endpoint gets.


def test_an_endpoint_gets_body_headers_parameters_query_and_clock() -> None:
    endpoint, backend = Recorder(), FakeBackend()
    before = time.monotonic()
    route = Route("POST", "/models/{id:path}/{part}", endpoint, "", "rerank")
    settings = Settings(max_documents=7)
    app = create_app(settings, backend, [route])
    request = posting({"query": "plants"}, "/models/Qwen/Qwen3/rank", X_Mixed_CASE="Yes")
    ask(app, replace(request, query="a=1&b=&a=2"))
    (call,) = endpoint.calls
    assert call.body == {"query": "plants"}
    assert call.headers["x-mixed-case"] == "Yes"
    assert call.parameters == {"id": "Qwen/Qwen3", "part": "rank"}
    assert call.query == {"a": "2", "b": ""}
    assert call.path == "/models/Qwen/Qwen3/rank"
    assert call.backend is backend and call.settings is settings
    assert before <= call.received <= time.monotonic()
    assert abs(call.created - time.time()) < 10


def test_a_body_in_pieces_is_one_body() -> None:
    endpoint = Recorder()
    ask(app_of(endpoint), Visit(chunks=[b'{"query"', b': "pl', b'ants"}'], headers={"transfer-encoding": "chunked"}))
    assert endpoint.calls[0].body == {"query": "plants"}


def test_headers_say_how_urgent_a_call_is() -> None:
    endpoint = Recorder()
    app = app_of(endpoint)
    headers = {"x_tier": "batch", "x_priority": "-3", "x_deadline_ms": "500", "prefer": "respond-async, wait=20"}
    ask(app, posting({}, **headers))
    asked = endpoint.calls[0].urgency
    assert (asked.tier, asked.priority, asked.wait_s) == ("batch", -3, 20.0)
    assert asked.deadline == endpoint.calls[0].received + 0.5  # from the request's arrival, not from its body's
    ask(app, posting({}, x_tier="gold", x_priority="first", x_deadline_ms="soon", prefer="wait=long"))
    plain = endpoint.calls[1].urgency
    assert (plain.tier, plain.priority, plain.deadline, plain.wait_s) == ("default", 0, None, 0.0)


# What becomes of an answer.


def test_an_answer_goes_out_as_json_with_its_costs() -> None:
    answer = Answer({"x": "ü"}, "nano", 3, 17, Timing(1.5, 0.25, 30.0), {"X-Own": "1"}, 201)
    reply = ask(app_of(Recorder(answer)), posting({}))
    assert (reply.status, reply.json) == (201, {"x": "ü"})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-gigarank-queue-ms"] == "1.500"
    assert reply.headers["x-gigarank-tokenize-ms"] == "0.250"
    assert reply.headers["x-gigarank-inference-ms"] == "30.000"
    assert reply.headers["x-gigarank-tokens"] == "17"
    assert reply.headers["x-own"] == "1"
    assert int(reply.headers["openai-processing-ms"]) >= 0
    assert "connection" not in reply.headers


def test_an_answer_without_a_model_says_nothing_of_costs() -> None:
    reply = ask(app_of(Recorder()), posting({}))
    assert not [name for name in reply.headers if name.startswith("x-gigarank")]


def test_bytes_go_out_as_they_are() -> None:
    reply = ask(app_of(Recorder(Answer(b"plain", headers={"content-type": "text/plain"}))), posting({}))
    assert (reply.body, reply.headers["content-type"]) == (b"plain", "text/plain")


def test_a_header_cannot_be_broken_out_of() -> None:
    reply = ask(app_of(Recorder(Answer({}, headers={"x-model": "a\r\nset-cookie: b"}))), posting({}))
    assert reply.headers["x-model"] == "a  set-cookie: b"


# Request ids.


def test_a_plain_request_id_is_kept_in_header_body_and_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gigarank.access")
    reply = ask(app_of(raising(errors.InvalidInput("no"))), posting({}, x_request_id="trace-1:a/b"))
    assert reply.headers["x-request-id"] == reply.error["request_id"] == logged(caplog)["request_id"] == "trace-1:a/b"


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, 'quote"', "new\tline"])
def test_another_request_id_is_replaced(given: str) -> None:
    endpoint = Recorder()
    app = app_of(endpoint)
    ids = {ask(app, posting({}, x_request_id=given)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(own.startswith("req_") for own in ids)
    assert {call.request_id for call in endpoint.calls} == ids


# Paths and methods.


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/rerank/", "//v1/rerank", "/v1//rerank//"])
def test_slashes_too_many_do_not_matter(path: str) -> None:
    assert ask(app_of(Recorder()), posting({}, path)).json == {"fine": True}


def test_an_unknown_path_is_404_in_the_superset() -> None:
    reply = ask(app_of(Recorder()), posting({}, "/v3/rerank"))
    assert reply.status == 404
    assert reply.error["code"] == "not_found" and reply.error["received"] == "/v3/rerank"
    assert reply.json["detail"] == reply.json["message"] == reply.error["message"]


def test_another_method_is_405_and_names_the_right_one() -> None:
    reply = ask(app_of(Recorder()), getting("/v1/rerank"))
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert reply.error["code"] == "method_not_allowed"


def test_head_is_get_without_the_body() -> None:
    reply = ask(app_of(Recorder()), Visit("HEAD", "/health"))
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "15")


def test_errors_have_their_routes_style() -> None:
    error = errors.InvalidInput("no", param="query", limit=1, received=2)
    assert ask(app_of(raising(error), style="integer"), posting({})).error["code"] == 400
    assert ask(app_of(raising(error), style="tei"), posting({})).json["error_type"] == "Validation"


def test_an_error_carries_limit_and_received() -> None:
    reply = ask(app_of(raising(errors.InvalidInput("no", param="top_n", limit=5, received=9))), posting({}))
    assert (reply.error["param"], reply.error["limit"], reply.error["received"]) == ("top_n", 5, 9)


def test_try_later_says_when() -> None:
    reply = ask(app_of(raising(errors.Overloaded("full", retry_after=1.25))), posting({}))
    assert (reply.status, reply.headers["retry-after"], reply.headers["retry-after-ms"]) == (429, "2", "1250")
    assert reply.headers["x-should-retry"] == "true"


# What nobody foresaw.


@pytest.mark.parametrize("endpoint", [broken, unwritable])
def test_a_defect_tells_the_client_nothing_and_the_log_its_place(endpoint: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reply = ask(app_of(endpoint), posting({"query": SECRET}))
    assert reply.status == 500
    assert reply.error["type"] == "server_error" and reply.error["request_id"] == reply.headers["x-request-id"]
    line = logged(caplog)
    place = {broken: "KeyError at test_app.py", unwritable: "TypeError at reply.py"}[endpoint]
    assert line["defect"].startswith(place)
    assert SECRET not in json.dumps(line) and SECRET.encode() not in reply.body


def test_the_next_request_is_none_the_worse() -> None:
    app = app_of(broken)
    ask(app, posting({"query": "x"}))
    assert ask(app, getting("/health")).status == 200
    assert app.state.lifecycle.in_flight == 0


# Clients that leave, and the end.


class Slow:
    """An endpoint that waits for ever, and says so."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = False

    async def __call__(self, call: Call) -> Answer:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Answer(None)


def test_a_client_that_leaves_ends_its_endpoint(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gigarank.access")

    async def scenario() -> tuple[Slow, FastAPI]:
        endpoint = Slow()
        app = app_of(endpoint)
        request = posting({})
        request.leaves = endpoint.began
        await visit(app, request)
        return endpoint, app

    endpoint, app = run(scenario())
    assert endpoint.cancelled
    assert logged(caplog)["status"] == 499 and logged(caplog)["error"] == "client_closed"
    assert app.state.lifecycle.dropped == 0


def test_a_client_that_leaves_while_it_sends_is_no_request() -> None:
    async def scenario() -> Recorder:
        endpoint = Recorder()
        gone = asyncio.Event()
        gone.set()
        await visit(app_of(endpoint), Visit(headers={"content-length": "50"}, chunks=[b"{"], stalls=True, leaves=gone))
        return endpoint

    assert run(scenario()).calls == []


def test_a_request_that_is_cut_off_is_told_and_counted_and_its_endpoint_ended(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> tuple[Slow, FastAPI, Reply]:
        endpoint = Slow()
        app = app_of(endpoint)
        request = asyncio.create_task(visit(app, posting({})))
        await endpoint.began.wait()
        assert app.state.lifecycle.in_flight == 1
        request.cancel()
        reply = await request
        await asyncio.sleep(0)
        return endpoint, app, reply

    with caplog.at_level("INFO"):
        endpoint, app, reply = run(scenario())
    assert endpoint.cancelled
    assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "server_shutting_down", "1")
    assert reply.error["request_id"] == reply.headers["x-request-id"]
    assert (logged(caplog)["status"], logged(caplog)["error"]) == (503, "shutting_down")
    assert (app.state.lifecycle.dropped, app.state.lifecycle.in_flight) == (1, 0)


def test_while_it_drains_it_answers_and_closes() -> None:
    app = app_of(Recorder())
    app.state.lifecycle.draining = True
    reply = ask(app, posting({}))
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert ask(app, getting("/ready")).status == 503
    assert ask(app, getting("/health")).status == 200


# What is served beside the routes.


def test_ready_follows_the_backend() -> None:
    backend = FakeBackend()
    app = create_app(Settings(), backend, [])
    assert ask(app, getting("/ready")).json == {"status": "ready"}
    backend.open = False
    reply = ask(app, getting("/ready"))
    assert (reply.status, reply.error["code"]) == (503, "model_loading")
    assert "retry-after" in reply.headers


def test_docs_that_would_fetch_from_elsewhere_are_not_served() -> None:
    app = create_app(Settings(pages=False), FakeBackend())
    assert {ask(app, getting(path)).status for path in ("/docs", "/redoc")} == {404}


def preflight(app: FastAPI) -> Any:
    return ask(app, Visit("OPTIONS", "/v1/rerank", {"origin": "https://a.example", "access-control-request-method": "POST"}))


def test_cors_is_off_until_an_origin_is_named() -> None:
    closed = preflight(app_of(Recorder()))
    assert closed.status == 405 and "access-control-allow-origin" not in closed.headers
    app = app_of(Recorder(), Settings(cors_origins=("https://a.example",)))
    assert preflight(app).headers["access-control-allow-origin"] == "https://a.example"
    reply = ask(app, posting({}, origin="https://a.example"))
    assert reply.headers["access-control-allow-origin"] == "https://a.example"
    assert "x-request-id" in reply.headers["access-control-expose-headers"]
    other = ask(app, posting({}, origin="https://b.example"))
    assert "access-control-allow-origin" not in other.headers


def test_the_backend_starts_and_drains_with_the_app() -> None:
    backend = FakeBackend()
    backend.open = False
    app = create_app(Settings(), backend, [])

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            assert backend.open
        assert not backend.open

    run(scenario())


def test_what_keeps_the_backend_from_starting_is_kept_for_whoever_runs_the_app() -> None:
    class Failing(FakeBackend):
        async def start(self) -> None:
            raise errors.UnknownModel("models: no 'x'")

    app = create_app(Settings(), Failing(), [])

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(errors.UnknownModel):
        run(scenario())
    assert isinstance(app.state.failure, errors.UnknownModel)


def test_a_backend_that_starts_slowly_does_not_keep_the_port_closed() -> None:
    class Slow(FakeBackend):
        async def start(self) -> None:
            await asyncio.sleep(60.0)
            await super().start()

    backend = Slow()
    backend.open = False
    app = create_app(Settings(), backend, [])

    async def scenario() -> tuple[int, int]:
        async with app.router.lifespan_context(app):
            live, ready = await visit(app, getting("/health")), await visit(app, getting("/ready"))
        return live.status, ready.status

    began = time.monotonic()
    assert run(scenario()) == (200, 503)
    assert time.monotonic() - began < 30.0  # the end did not wait for the start


def test_a_start_that_fails_late_ends_whoever_runs_the_app() -> None:
    class Failing(FakeBackend):
        async def start(self) -> None:
            await asyncio.sleep(1.2)
            raise errors.UnknownModel("models: no 'x'")

    app, ended = create_app(Settings(), Failing(), []), asyncio.Event()
    app.state.lifecycle.end = ended.set

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(ended.wait(), 30.0)

    run(scenario())
    assert isinstance(app.state.failure, errors.UnknownModel)


def test_ready_says_how_many_and_how_long_and_names_no_model() -> None:
    class Loading(FakeBackend):
        def ready(self) -> bool:
            return False

        def models(self) -> Sequence[ModelState]:
            first, *others = super().models()
            loading = replace(first, state="loading", pinned=True, ready_in_s=41.5)
            return [loading, *(replace(other, pinned=True) for other in others)]

    backend = Loading()
    reply = ask(create_app(Settings(), backend, []), getting("/ready"))
    assert (reply.status, reply.headers["retry-after"], reply.headers["retry-after-ms"]) == (503, "42", "41500")
    assert "1 of 2 models" in reply.error["message"] and "(loading)" in reply.error["message"]
    assert not any(model.name in reply.error["message"] for model in backend.models())


def test_the_real_routes_answer_through_the_app() -> None:
    app = create_app(Settings(), FakeBackend())
    reply = ask(app, posting({"query": "a b", "documents": ["c", "a b"]}))
    assert [result["index"] for result in reply.json["results"]] == [1, 0]
    assert reply.json["id"].endswith(reply.headers["x-request-id"])
    many = ask(create_app(Settings(max_documents=1), FakeBackend()), posting({"query": "a", "documents": ["c", "d"]}))
    assert (many.status, many.error["limit"], many.error["received"]) == (413, 1, 2)


def test_a_response_line_is_logged_for_every_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gigarank.access")
    app = create_app(Settings(), FakeBackend())
    ask(app, posting({"query": SECRET, "documents": [SECRET + "!"]}, user_agent="curl/8", authorization="Bearer sk-1"))
    line = logged(caplog)
    assert line["event"] == "request" and line["client"] == "10.1.2.3" and line["agent"] == "curl/8"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/rerank", 200)
    assert (line["model"], line["documents"]) == ("fake", 1)
    assert line["bytes_in"] > 50 and line["bytes_out"] > 50 and line["total_ms"] > 0 and line["tokens"] > 0
    assert SECRET not in json.dumps(line) and "sk-1" not in json.dumps(line)
