"""The process around an application: its socket, its signals, its orderly end.

Knows uvicorn. Invariant: after SIGTERM or SIGINT every request that was accepted is answered, unless that takes longer than
the drain timeout; the exit status says which.
"""

import asyncio
import contextlib
import ctypes
import errno
import ipaddress
import logging
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gigarank.errors import GigarankError, InvalidInput
from gigarank.service.http.dispatch import Lifecycle
from gigarank.service.http.keys import KeyRing
from gigarank.service.http.protocol import bounded_protocol
from gigarank.service.settings import Settings

_LOG = logging.getLogger(__name__)
_BACKLOG = 2_048


class DrainingServer(uvicorn.Server):
    """At the first SIGTERM or SIGINT: not ready, and every answer closes its connection, so that clients go elsewhere; after
    the drain delay no new connections; the end when all is answered. At the second: the end. At SIGHUP: the keys again."""

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, keys: KeyRing, drain_delay_s: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._keys = keys
        self._drain_delay_s = drain_delay_s
        lifecycle.end = self._close

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own would end the process by the signal; this one lets it end by its exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, loop)
        loop.add_signal_handler(signal.SIGHUP, self._keys.reload)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._lifecycle.draining or not self.started:
            self.should_exit = self.force_exit = True
            return
        self._lifecycle.draining = True
        _LOG.info("draining: %d requests in flight", self._lifecycle.in_flight)
        loop.call_later(self._drain_delay_s, self._close)

    def _close(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Connections that the system has taken for us and nobody has looked at are taken too, before the socket goes."""
        held = [listener.dup() for listener in sockets or []]
        for server in self.servers:
            server.close()
        for listener in held:
            _take_no_more(listener)
            waiting = _accept_all(listener)
            listener.close()
            for connection in waiting:
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)
        if self.force_exit:  # the application is not asked to end but cancelled, which Starlette tells as a traceback
            self.lifespan.logger = logging.Logger("silent", logging.CRITICAL + 1)

    def _protocol(self) -> asyncio.Protocol:
        make = cast(type[HttpToolsProtocol], self.config.http_protocol_class)
        return make(self.config, self.server_state, self.lifespan.state)


_SO_ATTACH_FILTER = 26  # Linux; Python has no name for it
_NOTHING_PASSES = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # the packet filter's "return 0 bytes"


def _take_no_more(listener: socket.socket) -> None:
    """The system takes no new connection for `listener`, and keeps those that it has: without this, one that comes between the
    last accept and the close is taken and then reset. It waits a second now, and is refused."""
    if sys.platform == "linux":
        program = struct.pack("HL", 1, ctypes.addressof(_NOTHING_PASSES))
        with contextlib.suppress(OSError):  # as before where a sandbox forbids filters
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    listener.setblocking(False)
    accepted = []
    with contextlib.suppress(BlockingIOError):
        while True:
            accepted.append(listener.accept()[0])
    return accepted


def run(app: FastAPI, settings: Settings, listener: socket.socket) -> int:
    """Serve until a signal ends it. Returns 0, or 1 if requests were cut off; raises what kept the backend from starting."""
    config = uvicorn.Config(
        app,
        http=bounded_protocol(settings, app.state.note),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", "gigarank")],
        backlog=_BACKLOG,
        timeout_keep_alive=cast(int, settings.keep_alive_s),
        timeout_graceful_shutdown=cast(int, settings.drain_timeout_s),
    )
    lifecycle: Lifecycle = app.state.lifecycle
    server = DrainingServer(config, lifecycle, app.state.keys, settings.drain_delay_s)
    logging.getLogger("uvicorn.error").addFilter(lambda _record: app.state.failure is None)  # the failure is said once, by us
    try:
        server.run(sockets=[listener])
    except SystemExit as ended:  # how uvicorn says that the application did not start
        failure: GigarankError | None = app.state.failure
        if failure is None:
            raise
        raise failure from ended
    if app.state.failure is not None:
        raise app.state.failure
    return 1 if lifecycle.dropped else 0


def listen(host: str, port: int) -> socket.socket:
    """A socket, made before anything heavy is loaded; whoever connects from now on waits until the application runs, and is not
    refused. Raises InvalidInput with the reason if it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except socket.gaierror as error:
        raise InvalidInput(f"host: {host!r}: {error.strerror}", param="host", received=host) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _unbound(host, port, error) from error
    return listener


def _unbound(host: str, port: int, error: OSError) -> InvalidInput:
    if error.errno == errno.EADDRINUSE:
        message = f"port: {port} on {host} is in use by another program; choose one with --port or GIGARANK_PORT"
        return InvalidInput(message, param="port", received=port)
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidInput(f"host: {host} is no address of this machine", param="host", received=host)
    return InvalidInput(f"port: {port} on {host}: {error.strerror}", param="port", received=port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
