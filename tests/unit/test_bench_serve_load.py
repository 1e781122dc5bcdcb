"""The load generator and the server that answers at once, over real connections on loopback."""

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from threading import Thread

import pytest

from gigarank.bench.serve_bodies import DISTINCT, Workload, bodies
from gigarank.bench.serve_canned import response
from gigarank.bench.serve_load import Generator, Load, Target, backend_ms
from gigarank.bench.serve_process import running, usage
from gigarank.bench.serve_summary import Sample
from gigarank.errors import InvalidInput


class Scripted:
    """Answers with `statuses` in turn, then 200, after `delay_s`; remembers bodies, headers and how many were open at once."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.ranking = {"results": [{"index": 0}, {"index": 1}]}
        self.delay_s = 0.0
        self.bodies: list[bytes] = []
        self.keys: list[str | None] = []
        self.open, self.most_open = 0, 0
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                scripted.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        self.bodies.append(request.rfile.read(int(request.headers["content-length"])))
        self.keys.append(request.headers.get("authorization"))
        time.sleep(self.delay_s)
        self.open -= 1
        status = self.statuses.pop(0) if self.statuses else 200
        body = json.dumps(self.ranking).encode()
        request.send_response(status)
        request.send_header("content-length", str(len(body)))
        request.send_header("x-gigarank-queue-ms", "1.5")
        request.send_header("x-gigarank-inference-ms", "20.25")
        request.end_headers()
        request.wfile.write(body)

    def send(self, load: Load, requests: int, key: str = "") -> list[Sample]:
        port = self.server.server_address[1]
        target = Target(f"http://127.0.0.1:{port}/v1/rerank", bodies(Workload(2, 30)), 2, key)

        async def run() -> list[Sample]:
            async with Generator(target) as generator:
                return await generator.run(load, requests)

        return asyncio.run(run())


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.server.shutdown()
    server.server.server_close()
    server.thread.join()


def test_a_closed_loop_has_as_many_requests_open_as_clients(scripted: Scripted) -> None:
    scripted.delay_s = 0.02
    samples = scripted.send(Load(clients=3), 12)
    assert (len(samples), scripted.most_open) == (12, 3)
    assert {(one.outcome, one.pairs, one.backend_ms) for one in samples} == {("200", 2, 21.75)}
    assert all(one.latency_ms >= 20.0 for one in samples)


def test_clients_of_a_closed_loop_may_begin_one_after_another(scripted: Scripted) -> None:
    scripted.delay_s, started = 0.8, time.perf_counter()
    samples = scripted.send(Load(clients=4, over_s=0.6), 4)
    begun = sorted(one.sent - started for one in samples)
    assert all(one >= number * 0.15 - 0.01 for number, one in enumerate(begun))


def test_every_body_is_a_request_of_its_own(scripted: Scripted) -> None:
    scripted.send(Load(clients=1), DISTINCT)
    assert len(set(scripted.bodies)) == DISTINCT
    asked = json.loads(scripted.bodies[0])
    assert [len(document) for document in asked["documents"]] == [30, 30]
    assert set(scripted.keys) == {None}


def test_the_key_is_sent_as_clients_send_it(scripted: Scripted) -> None:
    scripted.send(Load(clients=1), 1, "gr-key")
    assert scripted.keys == ["Bearer gr-key"]


def test_an_open_loop_sends_whether_or_not_it_was_answered(scripted: Scripted) -> None:
    scripted.delay_s = 0.1
    samples = scripted.send(Load(rate=200.0), 40)
    assert len(samples) == 40
    assert scripted.most_open > 5  # 200 a second, 0.1 s each: 20 in the mean
    intended = sorted(one.intended for one in samples)
    gaps = [later - earlier for earlier, later in itertools.pairwise(intended)]
    assert statistics.mean(gaps) == pytest.approx(1 / 200.0, rel=0.5)
    assert statistics.stdev(gaps) == pytest.approx(1 / 200.0, rel=0.6)  # as wide as long: Poisson arrivals, no metronome


def test_errors_are_counted_by_status_and_a_wrong_ranking_is_one(scripted: Scripted) -> None:
    scripted.statuses = [429, 503]
    assert sorted(one.outcome for one in scripted.send(Load(clients=1), 3)) == ["200", "429", "503"]
    scripted.ranking = {"results": [{"index": 0}]}
    (one,) = scripted.send(Load(clients=1), 1)
    assert (one.outcome, one.pairs) == ("200, not a ranking", 0)


def test_a_server_that_is_not_there_is_an_outcome() -> None:
    async def run() -> list[Sample]:
        async with Generator(Target("http://127.0.0.1:1/v1/rerank", [b"{}"], 1)) as generator:
            return await generator.run(Load(clients=1), 2)

    assert {one.outcome for one in asyncio.run(run())} == {"ClientConnectorError"}


def test_the_backend_s_time_is_the_sum_of_its_stages() -> None:
    assert backend_ms({}) == 0.0
    headers = {"x-gigarank-queue-ms": "1", "x-gigarank-tokenize-ms": "2", "x-gigarank-inference-ms": "4", "x-other-ms": "8"}
    assert backend_ms(headers) == 7.0


def test_the_canned_server_answers_whole_rankings() -> None:
    command = (sys.executable, "-m", "gigarank.bench.serve_canned", "5")
    with running(command, {}, first_line=True) as (process, port):
        target = Target(f"http://127.0.0.1:{port}/v1/rerank", bodies(Workload(5, 3_000)), 5)

        async def run() -> list[Sample]:
            async with Generator(target) as generator:
                return await generator.run(Load(clients=4), 100)

        samples = asyncio.run(run())
    assert [one.pairs for one in samples] == [5] * 100
    assert not process.is_running()
    assert json.loads(response(5).split(b"\r\n\r\n", 1)[1])["results"][4]["index"] == 4


def test_a_process_that_ignores_the_request_to_end_is_still_no_left_over() -> None:
    command = (sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()")
    with running(command, {}, first_line=True) as (process, line):
        assert line == "up"
    assert not process.is_running()


def test_the_same_seed_gives_the_same_bytes_and_another_others() -> None:
    assert bodies(Workload(3, 100, seed=1)) == bodies(Workload(3, 100, seed=1))
    assert bodies(Workload(3, 100, seed=1)) != bodies(Workload(3, 100, seed=2))


@pytest.mark.parametrize("size", [1, 2, 5, 99, 1_024, 1_025])
def test_a_document_has_its_size_to_the_byte(size: int) -> None:
    for body in bodies(Workload(2, size))[:3]:
        assert [len(document.encode()) for document in json.loads(body)["documents"]] == [size, size]


@pytest.mark.parametrize(("documents", "size", "param"), [(0, 10, "documents"), (1, 0, "bytes")])
def test_a_workload_that_cannot_be_names_the_field(documents: int, size: int, param: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        bodies(Workload(documents, size))
    assert raised.value.param == param


def test_psutil_sees_the_process_s_memory_and_time() -> None:
    command = (sys.executable, "-c", "x = bytearray(60 << 20); sum(range(4_000_000)); print('up', flush=True); input()")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = usage(import_module("psutil").Process(child.pid))
        child.communicate(b"\n")
    assert found.resident > 60 << 20
    assert found.cpu_s > 0.02
