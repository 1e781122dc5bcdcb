"""The composition root: settings, a backend and routes make an application.

Knows all parts and does nothing itself. Invariant: what one app holds is made here and belongs to it alone; two apps in a
process share nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from gigarank import __version__
from gigarank.errors import GigarankError
from gigarank.service import hosted_routes, people_routes
from gigarank.service.allowance import Allowance
from gigarank.service.backend import ScoringBackend
from gigarank.service.call import ErrorPage, Gate, Routes
from gigarank.service.errors import ERROR_SCHEMA
from gigarank.service.http.body import Intake
from gigarank.service.http.dispatch import Dispatcher, Lifecycle, Surroundings
from gigarank.service.http.keys import KeyRing
from gigarank.service.http.metrics import Metrics
from gigarank.service.http.openapi import document
from gigarank.service.http.paths import Paths
from gigarank.service.http.probes import description, probes
from gigarank.service.http.tracing import Spans, exporting_spans
from gigarank.service.openai import routes as openai
from gigarank.service.pulse import FILE, Pulse
from gigarank.service.rerank import routes as rerank
from gigarank.service.settings import Settings

ROUTES: Routes = (*rerank.ROUTES, *openai.ROUTES, *hosted_routes.ROUTES, *people_routes.ROUTES)

_START_S = 1.0  # a backend that needs longer, to fetch a model, goes on starting while the port answers
_EXPOSED = ("x-request-id", "openai-processing-ms", "retry-after", "retry-after-ms")


def create_app(
    settings: Settings,
    backend: ScoringBackend,
    routes: Routes = ROUTES,
    *,
    spans: Spans | None = None,
    gate: Gate | None = None,
) -> FastAPI:
    """The application. `gate` None: made where the settings ask for accounts. Its `state` holds `keys`,
    `lifecycle` and `note` for whoever runs it, and `failure` if it could not start."""
    keys = KeyRing(settings.api_keys, Path(settings.api_keys_file) if settings.api_keys_file else None)
    if spans is None and settings.otlp_endpoint:
        spans = exporting_spans(settings.otlp_endpoint)
    lifecycle, metrics = Lifecycle(), Metrics(backend)
    offered = (*routes, *probes(lifecycle, metrics, settings.metrics_public))
    described = document(offered, ERROR_SCHEMA)
    pulse = Pulse(Path(settings.state_dir) / FILE if settings.state_dir else None)
    pages, error_page = _pages(settings, pulse)
    paths = Paths((*pages, *offered, description(described)))
    intake = Intake(settings.max_buffered_bytes)
    gate = gate or _gate(settings, backend, routes)
    demo = _demo(settings, keys)
    around = Surroundings(settings, backend, paths, keys, metrics, intake, lifecycle, spans, gate, error_page, demo, pulse)
    app = FastAPI(title="gigarank", version=__version__, openapi_url=None, redirect_slashes=False, lifespan=_lifespan(around))
    app.router.default = Dispatcher(around)
    app.openapi = lambda: described  # type: ignore[method-assign]
    app.state.keys, app.state.lifecycle, app.state.failure, app.state.note = keys, lifecycle, None, around.note
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )
    return app


def _pages(settings: Settings, pulse: Pulse) -> tuple[Routes, ErrorPage | None]:
    if not settings.pages:
        return (), None
    from gigarank.service.web.error_pages import error_pages  # noqa: PLC0415  # a server without pages loads no templates
    from gigarank.service.web.routes import PAGES  # noqa: PLC0415
    from gigarank.service.web.status_pages import status_routes  # noqa: PLC0415

    return (*PAGES, *status_routes(pulse)), error_pages(settings)


def _demo(settings: Settings, keys: KeyRing) -> Allowance:
    """A server that asks nobody for a key bounds no visitor either."""
    if keys.open and not settings.accounts:
        return Allowance(None)
    if settings.rate_limit_url.startswith("memory:"):
        return Allowance(settings.demo_requests_per_minute)
    from gigarank.service.metering.limits import RateLimiter  # noqa: PLC0415  # one process needs no library to count

    return Allowance(settings.demo_requests_per_minute, shared=RateLimiter(settings.rate_limit_url))


def _gate(settings: Settings, backend: ScoringBackend, routes: Routes) -> Gate | None:
    if not settings.accounts:
        return None
    from gigarank.service.metering.gate import AccountGate  # noqa: PLC0415  # a server without accounts loads no database

    return AccountGate(settings, backend=backend, routes=routes)


async def _open(gate: Gate, app: FastAPI) -> None:
    try:
        await gate.start()
    except GigarankError as error:
        app.state.failure = error
        raise


async def _start(around: Surroundings, app: FastAPI) -> None:
    try:
        await around.backend.start()
    except GigarankError as error:
        app.state.failure = error
        if around.lifecycle.end is not None:
            around.lifecycle.end()


async def _beat(around: Surroundings) -> None:
    """Nobody sees the counts where there are no pages."""
    if around.pulse is not None and around.settings.pages:
        await around.pulse.run(around.backend.ready)


def _lifespan(around: Surroundings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if around.gate is not None:
            await _open(around.gate, app)
        starting = asyncio.create_task(_start(around, app), name="start")
        beating = asyncio.create_task(_beat(around), name="pulse")
        await asyncio.wait({starting}, timeout=_START_S)
        if app.state.failure is not None:
            raise app.state.failure
        yield
        starting.cancel()
        beating.cancel()
        await around.backend.drain(around.settings.drain_timeout_s)
        if around.gate is not None:
            await around.gate.close()
        if around.spans is not None:
            around.spans.close()

    return lifespan
