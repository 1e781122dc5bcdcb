"""A chat server of the OpenAI protocol on a port of its own: real HTTP, answers by rule, failures on order."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, dict[str, str]]


@dataclass
class ChatServer:
    """`answer` gives the text of a prompt; `failures` are used up first, one a request; `asked` is every body that came."""

    url: str
    answer: Callable[[str], str]
    failures: list[Reply] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    busiest: int = 0
    delay_s: float = 0.0

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]


def passage_of(prompt: str) -> str:
    found = re.search(r"\*\*Passage\*\*\n(.*?)\n\nAnswer", prompt, re.S)
    assert found is not None, prompt
    return found[1]


def usual(prompt: str) -> str:
    """As a well-behaved model answers: the first character, a question made of the passage's words."""
    if "**Requirement**" in prompt:
        return 'Sure!\n```json\n{"Query": "what about ' + passage_of(prompt) + '"}\n```'
    found = re.search(r"\*\*Characters\*\*\n- (.*)", prompt)
    assert found is not None, prompt
    return json.dumps({"Character": found[1], "Question_Type": "keywords", "Difficulty": "phd"})


@contextmanager
def chat_server(answer: Callable[[str], str] = usual) -> Iterator[ChatServer]:
    state = ChatServer("", answer)
    lock, running, quit_waiting = threading.Lock(), [0], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                running[0] += 1
                state.busiest = max(state.busiest, running[0])
                state.asked.append(body)
                state.keys.append(self.headers.get("authorization"))
                failure = state.failures.pop(0) if state.failures else None
            quit_waiting.wait(state.delay_s)
            with lock:
                running[0] -= 1
            self._send(*(failure or (200, _completion(state.answer(body["messages"][0]["content"])), {})))

        def _send(self, status: int, content: Any, headers: dict[str, str]) -> None:
            text = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status if self.path == "/v1/chat/completions" else 404)
            for name, value in {"content-length": str(len(text)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        quit_waiting.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(text: str) -> dict[str, Any]:
    return {"object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
