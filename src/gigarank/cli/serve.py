"""`gigarank serve`: the API server, in the foreground, until a signal ends it.

Knows settings as the table of them, and a server as something that runs an application. Invariant: whatever can be refused
is refused before the web framework or a model is loaded, in one line.
"""

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gigarank.cli.command import Debug
from gigarank.cli.output import note
from gigarank.errors import InvalidInput
from gigarank.service.configuration import SETTINGS, Setting, process_settings
from gigarank.service.settings import Settings

if TYPE_CHECKING:
    from gigarank.service.backend import ScoringBackend
    from gigarank.service.hosting.loader import EngineLoader

_NEEDED_BY_ACCOUNTS = ("alembic", "argon2", "joserfc", "limits", "python_multipart", "sqlalchemy")
_NEEDED = ("fastapi", "uvicorn", "httptools", "jinja2", "markdown_it", "orjson", "prometheus_client")
_SECONDS = r"\d{1,3}(?:\.\d{1,6})?"
_BACKEND = re.compile(rf"engine|fake(?::(?P<least>{_SECONDS})(?:-(?P<most>{_SECONDS}))?)?")

Config = Annotated[
    Path | None,
    typer.Option("--config", help="A TOML file of settings (GIGARANK_CONFIG).", show_default=False),
]
Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        envvar="GIGARANK_BACKEND",
        help="engine; vllm=URL[,URL] or rerank=URL[,URL] has other servers score; fake[:SECONDS[-SECONDS]] counts words.",
    ),
]


def _option(setting: Setting) -> tuple[str, Any, Any]:
    """The option of a setting. None is one that was not given, so that environment and file count."""
    shown = setting.default if not isinstance(setting.default, tuple) else ", ".join(setting.default)
    text = f"{setting.help} [dim]{shown}[/]" if shown not in ("", False) else setting.help
    panel = "Settings" if setting.name not in _PLAIN else None
    declared: Any = list[str] if setting.kind is list else setting.kind
    flag = f"{setting.option}/--no-{setting.option[2:]}" if setting.kind is bool else setting.option
    option = typer.Option(flag, help=text, show_default=False, rich_help_panel=panel)
    return setting.name, Annotated[declared | None, option], None


_PLAIN = ("models", "host", "port", "api_keys")

ServeOptions = dataclasses.make_dataclass(
    "ServeOptions",
    [
        *(_option(setting) for setting in SETTINGS),
        ("config", Config, None),
        ("backend", Backend, "engine"),
        ("debug", Debug, False),
    ],
    frozen=True,
    kw_only=True,
)


def serve(options: Any) -> None:
    """Serve models over HTTP, in the formats that rerank clients speak.

    Every setting can also stand in a TOML file, under its name with underscores, or in the environment, as GIGARANK_ and
    its name in capitals; flags come first. Without a key only programs on this machine can ask.
    """
    flags = {setting.name: getattr(options, setting.name) for setting in SETTINGS}
    settings = process_settings(flags, options.config)
    _check_backend(options.backend)
    check_installed(*(_NEEDED_BY_ACCOUNTS if settings.accounts else ()))
    if settings.cluster:
        from gigarank.cli.serve_cluster import check_cluster

        check_cluster(settings, options.backend)
    raise typer.Exit(_run(settings, options.backend))


def _check_backend(name: str) -> None:
    if "=" in name:
        from gigarank.service.upstream.addresses import parse_upstreams

        parse_upstreams(name)
        return
    found = _BACKEND.fullmatch(name)
    if found is None or (found["most"] and float(found["most"]) < float(found["least"])):
        message = f"--backend: engine, vllm=URL, rerank=URL, fake, fake:SECONDS or fake:LEAST-MOST; received {name!r}"
        raise InvalidInput(message, param="backend", received=name)


def check_installed(*more: str) -> None:
    missing = [name for name in (*_NEEDED, *more) if importlib.util.find_spec(name) is None]
    if missing:
        message = f"serve needs packages that are not here ({', '.join(missing)}): pip install 'gigarank[serve]'"
        raise InvalidInput(message, param="serve", received=missing)


def _run(settings: Settings, backend: str) -> int:
    from gigarank.service.app import create_app
    from gigarank.service.http import server
    from gigarank.service.http.logs import log_to_stderr

    keyed = bool(settings.api_keys or settings.api_keys_file or settings.accounts)
    if not keyed and not server.is_loopback(settings.host):
        message = (
            f"host: {settings.host} is open to other machines: give a key with --api-key, or a file with --api-keys-file, "
            "or keep accounts with --accounts"
        )
        raise InvalidInput(message, param="host", received=settings.host)
    app = create_app(settings, _backend(settings, backend))
    listener = server.listen(settings.host, settings.port)
    log_to_stderr(settings.log_level)
    address = _address(settings.host, listener.getsockname()[1])
    for line in _greeting(settings, address, len(app.state.keys) if keyed else None):
        note(line)
    return server.run(app, settings, listener)


def _backend(settings: Settings, name: str) -> "ScoringBackend":
    from gigarank.service.fake import FakeBackend

    if settings.cluster:
        from gigarank.cli.serve_cluster import cluster_backend

        return cluster_backend(settings)
    if "=" in name:
        return _upstream(settings, name)
    if name != "engine":
        least, _, most = name.partition(":")[2].partition("-")
        delay_s = float(least or 0.0)
        return FakeBackend(delay_s, float(most or delay_s) - delay_s)
    from gigarank.engine.worker import QueueLimits
    from gigarank.service.hosting.host import Host
    from gigarank.service.hosting.options import HostOptions
    from gigarank.service.hosting.specs import parse_specs

    models = parse_specs(settings.models, settings.default_model)
    limits = QueueLimits(settings.max_waiting_requests, settings.max_waiting_tokens, settings.max_batch_tokens)
    options = HostOptions(
        models,
        settings.memory_bytes or None,
        idle_s=settings.idle_s,
        retry_failed_s=settings.retry_failed_s,
        fresh_s=settings.fresh_s,
        patience_s=settings.patience_s,
    )
    return Host(options, _loader(settings), limits)


def _upstream(settings: Settings, name: str) -> "ScoringBackend":
    from gigarank.service.upstream.addresses import parse_upstreams
    from gigarank.service.upstream.backend import UpstreamBackend, WaitingLimits
    from gigarank.service.upstream.balance import BalanceLimits, Balancer, Upstream
    from gigarank.service.upstream.client import RerankClient, VllmClient
    from gigarank.service.upstream.models import parse_remotes

    upstreams = parse_upstreams(name)
    remotes = parse_remotes(upstreams.kind, settings.models, settings.default_model)
    client = VllmClient if upstreams.kind == "vllm" else RerankClient
    servers = [Upstream(client(url, settings.upstream_key, settings.upstream_timeout_s)) for url in upstreams.urls]
    limits = WaitingLimits(settings.max_waiting_requests, settings.max_waiting_tokens)
    return UpstreamBackend(remotes, Balancer(servers, BalanceLimits(tokens=settings.upstream_tokens)), limits)


def _loader(settings: Settings) -> "EngineLoader":
    from gigarank.engine.score_cache import ScoreCache
    from gigarank.service.hosting.loader import EngineLoader
    from gigarank.types import EngineOptions

    scores = ScoreCache(settings.score_cache) if settings.score_cache else None
    return EngineLoader(dtype=settings.dtype, options=EngineOptions(keep_quantized=settings.keep_quantized), scores=scores)


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _greeting(settings: Settings, address: str, keys: int | None) -> list[str]:
    example = '{"query": "how do plants make food", "documents": ["by photosynthesis", "in a kitchen"]}'
    known = " -H 'Authorization: Bearer KEY'" if keys is not None else ""
    access = (
        "open: no key is asked, since only this machine can reach it"
        if keys is None
        else f"{keys} API key{'' if keys == 1 else 's'}" + (" and those of accounts" if settings.accounts else "")
    )
    return [
        f"serving {', '.join(settings.models)} at {address} (Ctrl-C ends it)",
        f"access: {access}",
        f"try: curl {address}/v1/rerank{known} -d {shlex.quote(example)}",
    ]
