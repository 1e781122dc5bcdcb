"""A server that answers every request with the same ranking at once: the load generator's own ceiling is measured against it.

`python -m gigarank.bench.serve_canned DOCUMENTS` prints its port. Knows as much of HTTP as the generator sends: a
content-length, no chunks. Invariant: it does less work than any real server, so what it cannot reach the generator cannot.
"""

import asyncio
import json
import sys

_END = b"\r\n\r\n"


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._received = bytearray()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._take() and isinstance(self._transport, asyncio.WriteTransport):
            self._transport.write(self._response)

    def _take(self) -> bool:
        """Removes one whole request from what was received, if there is one."""
        head = self._received.find(_END)
        if head < 0:
            return False
        lines = bytes(self._received[:head]).lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        end = head + len(_END) + length
        if len(self._received) < end:
            return False
        del self._received[:end]
        return True


def response(documents: int) -> bytes:
    """A whole ranking of so many documents, as bytes on the wire."""
    body = json.dumps({"results": [{"index": index, "relevance_score": 0.5} for index in range(documents)]}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(documents: int) -> None:
    """Runs until it is ended from outside."""
    answer = response(documents)
    server = await asyncio.get_running_loop().create_server(lambda: Canned(answer), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
