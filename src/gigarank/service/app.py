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
from gigarank.service.backend import ScoringBackend
from gigarank.service.call import Routes
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
from gigarank.service.rerank import routes as rerank
from gigarank.service.settings import Settings

ROUTES: Routes = (*rerank.ROUTES, *openai.ROUTES)

_START_S = 1.0  # a backend that needs longer, to fetch a model, goes on starting while the port answers
_EXPOSED = ("x-request-id", "openai-processing-ms", "retry-after", "retry-after-ms")


def create_app(settings: Settings, backend: ScoringBackend, routes: Routes = ROUTES, *, spans: Spans | None = None) -> FastAPI:
    """The application. Its `state` holds `keys`, `lifecycle` and `note` for whoever runs it, and `failure` if it could not
    start."""
    keys = KeyRing(settings.api_keys, Path(settings.api_keys_file) if settings.api_keys_file else None)
    if spans is None and settings.otlp_endpoint:
        spans = exporting_spans(settings.otlp_endpoint)
    lifecycle, metrics = Lifecycle(), Metrics(backend)
    offered = (*routes, *probes(lifecycle, metrics, settings.metrics_public))
    described = document(offered, ERROR_SCHEMA)
    paths = Paths((*offered, description(described)))
    intake = Intake(settings.max_buffered_bytes)
    around = Surroundings(settings, backend, paths, keys, metrics, intake, lifecycle, spans)
    app = FastAPI(title="gigarank", version=__version__, openapi_url=None, redirect_slashes=False, lifespan=_lifespan(around))
    app.router.default = Dispatcher(around)
    app.openapi = lambda: described  # type: ignore[method-assign]
    app.state.keys, app.state.lifecycle, app.state.failure, app.state.note = keys, lifecycle, None, around.note
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )
    return app


async def _start(around: Surroundings, app: FastAPI) -> None:
    try:
        await around.backend.start()
    except GigarankError as error:
        app.state.failure = error
        if around.lifecycle.end is not None:
            around.lifecycle.end()


def _lifespan(around: Surroundings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(_start(around, app), name="start")
        await asyncio.wait({starting}, timeout=_START_S)
        if app.state.failure is not None:
            raise app.state.failure
        yield
        starting.cancel()
        await around.backend.drain(around.settings.drain_timeout_s)
        if around.spans is not None:
            around.spans.close()

    return lifespan
