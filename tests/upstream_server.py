"""Servers that score, of their own ports: real HTTP in vLLM's and in Cohere's format, and what goes wrong with them on order.

A server answers by `logit`, of a prompt's ids or of a (query, document); `faults` are used up first, one a question.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]
Fault = Callable[["Scorer", dict[str, Any]], Answer | None]
"""None closes the connection without a word."""


def by_sum(ids: Any) -> float:
    """A number from -4 to 5.6 that any other prompt, or one in another order, would hardly have."""
    return float(sum(place * token for place, token in enumerate(ids, 1)) % 97 / 10 - 4.0)


def by_words(asked: tuple[str, str]) -> float:
    query, document = asked
    return 2.0 * len(set(query.split()) & set(document.split())) - 1.0


@dataclass
class Scorer:
    """`asked`: every body that came. `models`: what it lists, with the longest prompts. `quit`: ends what hangs. `trials`:
    how often it was tried out, which uses up no fault."""

    url: str = ""
    logit: Callable[[Any], float] = by_sum
    models: dict[str, int] = field(default_factory=lambda: {"tiny": 2_048})
    faults: list[Fault] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    trials: int = 0
    looks: int = 0
    broken: Fault | None = None  # whatever is asked, its trial too
    held: threading.Event | None = None  # questions wait for it
    at_once: int = 0
    busiest: int = 0
    quit: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, body: dict[str, Any]) -> Answer | None:
        if self.broken is not None:
            return self.broken(self, body)
        if path == "/classify":
            if len(body["input"]) == 1 and _is_trial(body["input"][0], self):
                self.trials += 1
                return classified(self, body)
            self.asked.append(body)
            return self._next(classified, body)
        assert path == "/v1/rerank"
        if body["query"] == "how do plants make food":
            self.trials += 1
            return reranked(self, body)
        self.asked.append(body)
        return self._next(reranked, body)

    def _next(self, usual: "Callable[[Scorer, dict[str, Any]], Answer]", body: dict[str, Any]) -> Answer | None:
        if self.held is not None:
            assert self.held.wait(30.0)
        return self.faults.pop(0)(self, body) if self.faults else usual(self, body)


def _is_trial(ids: list[int], scorer: Scorer) -> bool:
    """The prompt with which a server is tried out is the first that comes."""
    first = scorer.__dict__.setdefault("canary", ids)
    return bool(ids == first)


def written(value: Any) -> Answer:
    return 200, json.dumps(value).encode()


def classified(scorer: Scorer, body: dict[str, Any]) -> Answer:
    def told(ids: list[int]) -> float:
        logit = scorer.logit(ids)
        return 1 / (1 + math.exp(-logit)) if body.get("use_activation", True) else logit

    data = [{"index": n, "label": "LABEL_0", "probs": [told(ids)], "num_classes": 1} for n, ids in enumerate(body["input"])]
    read = sum(map(len, body["input"]))
    return written({"object": "list", "model": body["model"], "data": data, "usage": {"prompt_tokens": read}})


def reranked(scorer: Scorer, body: dict[str, Any]) -> Answer:
    logits = [scorer.logit((body["query"], document)) for document in body["documents"]]
    results = [{"index": n, "relevance_score": 1 / (1 + math.exp(-logit))} for n, logit in enumerate(logits)]
    return written({"results": sorted(results, key=lambda one: -one["relevance_score"])})


def status(code: int, body: bytes = b"{}") -> Fault:
    return lambda scorer, asked: (code, body)


def saying(body: bytes) -> Fault:
    return lambda scorer, asked: (200, body)


def changed(change: Callable[[dict[str, Any]], object]) -> Fault:
    """The usual answer, of which `change` spoils something."""

    def fault(scorer: Scorer, asked: dict[str, Any]) -> Answer:
        _, usual = (classified if "input" in asked else reranked)(scorer, asked)
        told = json.loads(usual)
        change(told)
        return written(told)

    return fault


def hanging(scorer: Scorer, asked: dict[str, Any]) -> None:
    scorer.quit.wait(30.0)


def closing(scorer: Scorer, asked: dict[str, Any]) -> None:
    """The connection's end, without an answer."""


@contextmanager
def scorer(**given: Any) -> Iterator[Scorer]:
    state = Scorer(**given)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.looks += 1
            if state.broken is not None:
                self._send(state.broken(state, {}))
            else:
                listed = [{"id": name, "max_model_len": longest} for name, longest in state.models.items()]
                self._send(written({"object": "list", "data": listed}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.keys.append(self.headers["authorization"])
            with lock:
                state.at_once += 1
                state.busiest = max(state.busiest, state.at_once)
            answer = state.answer(self.path, body)
            with lock:
                state.at_once -= 1
            self._send(answer)

        def _send(self, answer: Answer | None) -> None:
            if answer is None:
                self.close_connection = True
                return
            code, content = answer
            self.send_response(code)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *rest: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *rest: object) -> None:
            """A client that left: nothing to say."""

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.quit.set()
        server.shutdown()
        server.server_close()
        thread.join(10.0)
