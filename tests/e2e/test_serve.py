"""`gigarank serve` as its own process on a port of its own: what it says, what it refuses, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from gigarank.service.http.server import _accept_all, _take_no_more, listen

QUESTION = {"query": "plants eat light", "documents": ["plants eat", "stones"]}


@dataclass
class Server:
    """A running `gigarank serve`; `lines` are those of its standard error so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.lines[0].split(" at http://")[1].split()[0].rpartition(":")[2])

    @property
    def log(self) -> list[Any]:
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return self.ask(urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers))

    def rank(self, **headers: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.port}/v1/rerank"
        return self.ask(urllib.request.Request(url, json.dumps(QUESTION).encode(), headers))

    def ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


Program = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Server]


@pytest.fixture
def start(gigarank_command: list[str], tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def run(*arguments: str, **environment: str) -> Server:
        command = [*gigarank_command, "serve", "--port", "0", "--backend", "fake", *arguments]
        env = {**os.environ, "GIGARANK_STATE_DIR": str(tmp_path / "state"), **environment}
        server = Server(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env))
        servers.append(server)
        threading.Thread(target=server.read, daemon=True).start()
        wait_until(lambda: len(server.lines) >= 3 and server.get("/ready")[0] == 200)
        return server

    yield run
    for server in servers:
        server.process.kill()
        server.process.wait()
        if server.process.stderr is not None:
            server.process.stderr.close()


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


# What it says.


def test_it_says_where_it_is_who_may_ask_and_what_to_try(start: Start) -> None:
    server = start()
    assert server.lines[0].startswith("serving nano at http://127.0.0.1:")
    assert server.lines[1] == "access: open: no key is asked, since only this machine can reach it"
    assert server.lines[2].startswith(f"try: curl http://127.0.0.1:{server.port}/v1/rerank -d '")
    done = subprocess.run(["bash", "-c", server.lines[2].removeprefix("try: ")], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["results"]


def test_every_line_after_that_is_json_and_none_holds_a_text(start: Start) -> None:
    server = start()
    server.rank()
    wait_until(lambda: any(line.get("route") == "/v1/rerank" for line in server.log))
    assert all(line.startswith("{") for line in server.lines[3:])
    assert "plants" not in "".join(server.lines[3:])


def test_the_help_shows_examples_and_every_setting(gigarank: Program) -> None:
    done = gigarank("serve", "--help", env={"COLUMNS": "200"})
    assert done.returncode == 0
    assert "gigarank serve --model Qwen/Qwen3-Reranker-0.6B" in done.stdout.split("Examples")[1]
    for flag in ("--model", "--api-key", "--config", "--max-body-bytes", "--drain-timeout-s", "--cors-origin", "--backend"):
        assert flag in done.stdout


# What it refuses.


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    for part in ("gigarank: error:", *parts):
        assert part in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "rerank.example.com"])
def test_an_open_address_needs_a_key(gigarank: Program, host: str) -> None:
    refused(gigarank("serve", "--backend", "fake", "--host", host), host, "--api-key")


def test_a_port_in_use_is_named(gigarank: Program) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(gigarank("serve", "--backend", "fake", "--port", str(port)), f"port: {port} on 127.0.0.1 is in use", "--port")


def test_who_connects_before_the_application_runs_waits_and_is_not_refused() -> None:
    """Whoever reads the greeting may connect at once, though the application is not loaded yet."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5):
        listener.settimeout(5)
        listener.accept()[0].close()


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux's")
def test_a_listener_that_ends_takes_no_connection_that_it_will_not_serve() -> None:
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=5), socket.create_connection(address, timeout=5):
            _take_no_more(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            accepted = _accept_all(listener)
            assert len(accepted) == 2
            for connection in accepted:
                connection.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_an_address_of_another_machine_is_named(gigarank: Program) -> None:
    done = gigarank("serve", "--backend", "fake", "--host", "192.0.2.1", "--api-key", "k")
    refused(done, "host: 192.0.2.1 is no address of this machine")


def test_a_setting_that_cannot_be_is_refused(gigarank: Program, tmp_path: Path) -> None:
    refused(gigarank("serve", "--port", "99999"), "--port: at most 65535")
    refused(gigarank("serve", env={"GIGARANK_MAX_DOCUMENTS": "none"}), "GIGARANK_MAX_DOCUMENTS: a whole number")
    refused(gigarank("serve", "--config", str(tmp_path / "none.toml")), "none.toml: No such file")
    expected = "--backend: engine, vllm=URL, rerank=URL, fake, fake:SECONDS or fake:LEAST-MOST"
    for name in ("magic", "fake:x", "fake:0.3-0.2"):
        refused(gigarank("serve", "--backend", name), f"{expected}; received {name!r}")
    refused(gigarank("serve", "--backend", "fake", "--api-keys-file", str(tmp_path / "none")), "api_keys_file")


def test_a_model_that_does_not_exist_is_refused_with_the_nearest(gigarank: Program) -> None:
    done = gigarank("serve", "--model", "nanno", "--port", "0")
    assert done.returncode == 2
    assert "nano" in done.stderr.splitlines()[-1]


def test_without_the_extra_it_says_what_to_install(gigarank: Program, tmp_path: Path) -> None:
    """A package that is not there, as for one who installed gigarank alone."""
    lines = ["import importlib.util as u", "find = u.find_spec"]
    lines.append("u.find_spec = lambda name: name != 'uvicorn' and find(name) or None")
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    refused(gigarank("serve", env={"PYTHONPATH": str(tmp_path)}), "uvicorn", "pip install 'gigarank[serve]'")


# Keys.


def test_sighup_and_a_changed_file_bring_new_keys(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-old\n")
    server = start("--api-keys-file", str(keys))
    assert server.lines[1] == "access: 1 API key"
    assert "Authorization: Bearer KEY" in server.lines[2]
    assert (server.rank()[0], server.rank(Authorization="Bearer sk-old")[0]) == (401, 200)
    keys.write_text("sk-new\nsk-newer\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: server.rank(Authorization="Bearer sk-new")[0] == 200)
    assert server.rank(Authorization="Bearer sk-old")[0] == 401
    assert {"keys read again: 2"} <= {line.get("message") for line in server.log}


def test_with_a_key_it_listens_everywhere(start: Start) -> None:
    server = start("--host", "0.0.0.0", GIGARANK_API_KEYS="sk-a,sk-b")
    assert server.lines[1] == "access: 2 API keys"
    assert server.rank(Authorization="Bearer sk-b")[0] == 200


# Limits that hold before there is a request.


def raw(port: int, sent: bytes, seconds: float = 10.0) -> bytes:
    """What the server answers, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
    return received


def test_heads_have_limits(start: Start) -> None:
    port = start("--max-header-bytes", "2048", "--max-headers", "20").port
    many = b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(30)) + b"\r\n"
    long = b"GET /health HTTP/1.1\r\nhost: x\r\na: " + b"x" * 3_000 + b"\r\n\r\n"
    endless = b"GET /health HTTP/1.1\r\nhost: x\r\na: " + b"x" * 3_000
    path = b"GET /" + b"x" * 3_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    for sent, limit in ((many, 20), (long, 2_048), (endless, 2_048), (path, 2_048)):
        head, _, body = raw(port, sent).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ") and b"connection: close" in head
        assert json.loads(body)["error"]["limit"] == limit
        assert json.loads(body)["error"]["received"] > limit


def test_what_is_refused_before_there_is_a_request_is_logged_and_counted(start: Start) -> None:
    server = start("--max-headers", "20")
    raw(server.port, b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(30)) + b"\r\n")
    wait_until(lambda: any(line.get("route") == "refused" for line in server.log))
    (line,) = [line for line in server.log if line.get("route") == "refused"]
    assert (line["status"], line["error"], line["client"]) == (431, "headers_too_large", "127.0.0.1")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as reply:
        text = reply.read().decode()
    assert 'gigarank_requests_total{method="unknown",route="refused",status="431"} 1.0' in text


def test_what_is_no_http_is_400(start: Start) -> None:
    head, _, body = raw(start().port, b"\x16\x03\x01 hello\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["message"]


def test_an_offer_of_http_2_does_not_cost_the_body(start: Start) -> None:
    """As Java's HttpClient makes it with every request."""
    port = start().port
    body = json.dumps(QUESTION).encode()
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAAAAMAAAAA\r\n"
    head = b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\n" + offer + b"content-length: %d\r\n\r\n" % len(body)
    last = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answers = raw(port, head + body + head + body + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 3 and answers.count(b'"results"') == 2
    assert raw(port, b"CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 405 ")


def test_slow_clients_are_sent_away(start: Start) -> None:
    port = start("--header-timeout-s", "0.5", "--body-timeout-s", "0.5", "--keep-alive-s", "0.5").port
    assert raw(port, b"GET /health HTTP/1.1\r\nhost").startswith(b"HTTP/1.1 408 ")
    assert raw(port, b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
    assert raw(port, b"") == b""
    assert raw(port, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"}"):
            received += connection.recv(65_536)
        connection.sendall(b"\r\n")  # no request, and no reason to stay
        assert connection.recv(65_536)[:12] in (b"", b"HTTP/1.1 408")


def test_a_blank_line_behind_a_request_does_not_cost_its_answer(start: Start) -> None:
    port = start("--header-timeout-s", "0.3", "--backend", "fake:0.9").port
    body = json.dumps(QUESTION).encode()
    head = b"POST /v1/rerank HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert raw(port, head + body + b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_connections_have_a_limit(start: Start) -> None:
    port = start("--max-connections", "2").port
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
        time.sleep(0.2)
        head = raw(port, b"").partition(b"\r\n\r\n")[0]
        assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after" in head
    wait_until(lambda: raw(port, b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 "))


def test_a_large_body_gets_its_answer_and_the_next_request_too(start: Start) -> None:
    connection = HTTPConnection("127.0.0.1", start("--max-body-bytes", "100000").port, timeout=20)
    connection.request("POST", "/v1/rerank", b"x" * 150_000)
    reply = connection.getresponse()
    assert (reply.status, json.loads(reply.read())["error"]["limit"]) == (413, 100_000)
    connection.request("POST", "/v1/rerank", json.dumps(QUESTION))
    assert connection.getresponse().read().startswith(b'{"id"')
    connection.close()


# How it ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_and_says_nothing_wrong(start: Start, number: int) -> None:
    server = start("--drain-delay-s", "0")
    assert server.stop(number) == 0
    assert [line["message"] for line in server.log if "message" in line] == ["draining: 0 requests in flight"]
    assert not any("Traceback" in line for line in server.lines)


@dataclass
class Load:
    """Clients that ask as fast as they can, each on a connection that it keeps."""

    port: int
    outcomes: Counter[str] = field(default_factory=Counter)
    stopping: bool = False

    def client(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = json.dumps(QUESTION)
        while not self.stopping:
            try:
                connection.connect()
            except ConnectionRefusedError:  # a new connection: this request was never taken
                return
            while not self.stopping and connection.sock is not None:
                self.outcomes[self.one(connection, body)] += 1
        connection.close()

    def one(self, connection: HTTPConnection, body: str) -> str:
        try:
            connection.request("POST", "/v1/rerank", body)
            reply = connection.getresponse()
            content = reply.read()
        except (HTTPException, OSError) as error:
            connection.close()
            return f"lost: {type(error).__name__}"
        return "answered" if reply.status == 200 and json.loads(content)["results"] else f"status {reply.status}"


def test_nothing_that_was_accepted_is_lost_when_it_is_stopped_under_load(start: Start) -> None:
    server = start()
    load = Load(server.port)
    clients = [threading.Thread(target=load.client) for _ in range(8)]
    for client in clients:
        client.start()
    wait_until(lambda: load.outcomes["answered"] > 100)
    assert server.stop() == 0
    load.stopping = True
    for client in clients:
        client.join(20)
    assert set(load.outcomes) == {"answered"}
    answered = [line for line in server.log if line.get("route") == "/v1/rerank"]
    assert len(answered) == load.outcomes["answered"]


def slow_server(start: Start, *arguments: str, seconds: int = 2) -> tuple[Server, HTTPConnection]:
    """A server that has a request of so many seconds."""
    server = start(*arguments, "--backend", f"fake:{seconds}")
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("POST", "/v1/rerank", json.dumps(QUESTION))
    wait_until(lambda: b"in_flight 2" in urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5).read())
    return server, connection


def test_a_long_request_is_finished_first(start: Start) -> None:
    server, connection = slow_server(start, "--drain-delay-s", "0.2")
    server.process.send_signal(signal.SIGTERM)
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("connection")) == (200, "close")
    assert json.loads(reply.read())["results"]
    assert server.process.wait(30) == 0
    connection.close()


def test_one_that_takes_too_long_is_cut_off_and_the_exit_code_says_so(start: Start) -> None:
    server, connection = slow_server(start, "--drain-delay-s", "0", "--drain-timeout-s", "0.2")
    assert server.stop() == 1
    reply = connection.getresponse()
    assert (reply.status, reply.getheader("connection"), reply.getheader("retry-after")) == (503, "close", "1")
    assert json.loads(reply.read())["error"]["code"] == "server_shutting_down"
    connection.close()


def test_a_second_signal_ends_it_now(start: Start) -> None:
    server, connection = slow_server(start, "--drain-timeout-s", "60", seconds=20)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert server.stop() == 1
    assert time.monotonic() - began < 10.0  # half of what the request takes: the machine may be busy
    connection.close()


def test_a_client_that_leaves_is_noticed(start: Start) -> None:
    server, connection = slow_server(start)
    connection.close()
    wait_until(lambda: any(line.get("status") == 499 for line in server.log), 1.5)
