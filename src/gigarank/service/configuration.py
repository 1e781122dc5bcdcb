"""Where settings come from: one table drives the flags, the environment, the file and the page that lists them.

Knows no web framework and no model. Invariant: a flag beats the environment, the environment the file, the file the default;
a name that is not in the table is refused with the nearest ones, a value out of bounds with the bound.
"""

import dataclasses
import difflib
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gigarank.errors import BadFile, InvalidInput
from gigarank.service.settings import Settings
from gigarank.types import DTYPES

PREFIX = "GIGARANK_"
CONFIG_VARIABLE = "GIGARANK_CONFIG"
KEYS_FILE = "keys"
"""In the state directory; counts where no other file of keys is named."""
_NEAR = 0.85
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Setting:
    """`name` is the key in the file and the field of Settings. `kind` list: several values, with commas between them in the
    environment. `minimum` and `maximum` are inclusive."""

    name: str
    kind: type[str] | type[int] | type[float] | type[bool] | type[list[str]]
    help: str
    flag: str = ""
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    secret: bool = False

    @property
    def option(self) -> str:
        return self.flag or "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def default(self) -> Any:
        return _DEFAULTS[self.name]


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Settings)}
_KIB = 1024

SETTINGS: tuple[Setting, ...] = (
    Setting("models", list, "Models to serve: names, repositories or folders.", flag="--model"),
    Setting("default_model", str, "The model of a request that names none; the first if empty."),
    Setting("host", str, "The address to listen at. Any but loopback needs a key."),
    Setting("port", int, "The port; 0 takes a free one.", minimum=0, maximum=65_535),
    Setting("state_dir", str, "Folder for all that is kept, `keys` among it."),
    Setting("api_keys", list, "Keys that may ask; none on loopback lets everybody.", flag="--api-key", secret=True),
    Setting("api_keys_file", str, "A file of keys, one a line, read again when it changes."),
    Setting("accounts", bool, "Keep accounts, with keys, credit and metering."),
    Setting("database_url", str, "Of accounts: PostgreSQL or SQLite; empty is a file in `state_dir`.", secret=True),
    Setting("key_secrets_file", str, "Secrets of accounts' keys; empty is a file in `state_dir`."),
    Setting("rate_limit_url", str, "Where limits are counted: memory://, or redis://HOST.", secret=True),
    Setting("rate_limit_outage", str, "Requests that cannot be counted there: 503, or open.", allowed=("closed", "open")),
    Setting("requests_per_minute", int, "Of an account without a limit of its own; 0: any.", minimum=0, maximum=10**9),
    Setting("tokens_per_minute", int, "As requests_per_minute.", minimum=0, maximum=2 * 10**9),
    Setting("concurrent_requests", int, "Requests of an account at a time; 0 is any.", minimum=0, maximum=10**6),
    Setting("files_url", str, "Where accounts' files are kept: s3://BUCKET/PREFIX; empty is a folder in `state_dir`."),
    Setting("max_file_bytes", int, "Bytes of a file of batch requests.", minimum=_KIB, maximum=2**40),
    Setting("max_stored_bytes", int, "Bytes of all files of an account.", minimum=_KIB, maximum=2**50),
    Setting("max_batch_lines", int, "Requests of a batch.", minimum=1, maximum=10**7),
    Setting("max_open_batches", int, "Batches of an account that are not done.", minimum=1, maximum=10**6),
    Setting("batch_concurrency", int, "Requests of batches that a server asks at a time.", minimum=1, maximum=10**4),
    Setting("max_body_days", int, "Days that accounts may have bodies kept; 0 keeps none.", minimum=0, maximum=3_650),
    Setting("max_body_log_bytes", int, "Bytes of a body that are kept.", minimum=_KIB, maximum=2**24),
    Setting("public_url", str, "Where people reach this server, as https://rank.example.org."),
    Setting("client_header", str, "The header in which one's own proxy names the client, as x-forwarded-for."),
    Setting("free_credit_usd", str, "Credit of a new account, once its address is verified; 0 is none."),
    Setting("low_balance_usd", str, "Who falls below is told by mail; 0 tells nobody."),
    Setting("oidc_providers", list, "Each: NAME ISSUER CLIENT_ID CLIENT_SECRET, with blanks between them.", secret=True),
    Setting("smtp_url", str, "smtp://USER:PASSWORD@HOST:587 or smtps://...; empty sends no mail.", secret=True),
    Setting("mail_from", str, "The address that mail is from."),
    Setting("memory_bytes", int, "Memory for models; 0 is 80 percent of the machine's.", minimum=0, maximum=2**50),
    Setting("idle_s", float, "Seconds unused until a model sleeps; 0 is never.", minimum=0, maximum=10**9),
    Setting("patience_s", float, "Seconds a model waits for memory until a busy one has to yield.", minimum=0, maximum=10**9),
    Setting("fresh_s", float, "Seconds a model stays that was loaded for a client told to retry.", minimum=0, maximum=10**9),
    Setting("retry_failed_s", float, "Seconds until a model that failed to load is tried again.", minimum=0, maximum=10**9),
    Setting("upstream_key", str, "What other servers that score ask for as a key.", secret=True),
    Setting("upstream_timeout_s", float, "Seconds for such a server to answer.", minimum=0.1, maximum=3_600),
    Setting("upstream_tokens", int, "Tokens on their way to such a server at a time.", minimum=1, maximum=10**9),
    Setting("cluster", str, "Ray runs the models: local, auto or HOST:PORT; empty is this process."),
    Setting("cluster_deploy", bool, "This server tells the cluster what to run; else it waits for it."),
    Setting("cluster_min_replicas", int, "Copies that always run.", minimum=1, maximum=10**4),
    Setting("cluster_max_replicas", int, "Copies that run at most.", minimum=1, maximum=10**4),
    Setting("cluster_replica_tokens", int, "Tokens that wait for a copy before one is added.", minimum=1, maximum=10**9),
    Setting("cluster_models", int, "Models in the memory of a copy; 0 is all.", minimum=0, maximum=10**4),
    Setting("cluster_cpus", int, "Processors, and threads, of a copy.", minimum=1, maximum=1_024),
    Setting("cluster_gpus", float, "GPUs of a copy, or a part of one.", minimum=0, maximum=64),
    Setting("cluster_version", str, "A word; another one replaces all copies, one after the other."),
    Setting("dtype", str, "Precision of the models; int8 and bf16 are faster.", allowed=("auto", *DTYPES)),
    Setting("keep_quantized", bool, "int8 weights stay in the cache folder for the next loading."),
    Setting("score_cache", int, "Scores kept in memory for pairs asked again; 0 is none.", minimum=0, maximum=10**9),
    Setting("max_waiting_requests", int, "Requests that wait for a model.", minimum=1, maximum=10**6),
    Setting("max_waiting_tokens", int, "Tokens that wait for a model.", minimum=1, maximum=10**12),
    Setting("max_batch_tokens", int, "Tokens computed together.", minimum=1, maximum=10**7),
    Setting("max_documents", int, "Documents a request.", minimum=1, maximum=1_000_000),
    Setting("max_body_bytes", int, "Bytes of a request's body.", minimum=_KIB, maximum=2**31),
    Setting("max_buffered_bytes", int, "Bytes of all bodies in memory.", minimum=_KIB, maximum=2**40),
    Setting("max_json_depth", int, "How deep a body's JSON may nest.", minimum=4, maximum=500),
    Setting("max_header_bytes", int, "Bytes of a request's line and headers.", minimum=_KIB, maximum=2**20),
    Setting("max_headers", int, "Headers a request.", minimum=10, maximum=10_000),
    Setting("max_connections", int, "Connections at a time.", minimum=1, maximum=100_000),
    Setting("header_timeout_s", float, "Seconds for a request's headers to arrive.", minimum=0.1, maximum=3_600),
    Setting("body_timeout_s", float, "Seconds for a body to arrive, or an answer to be read.", minimum=0.1, maximum=3_600),
    Setting("keep_alive_s", float, "Seconds that an idle connection stays open.", minimum=0.1, maximum=3_600),
    Setting("drain_delay_s", float, "Seconds between SIGTERM and the last new connection.", minimum=0, maximum=600),
    Setting("drain_timeout_s", float, "Seconds to finish accepted requests after that.", minimum=0, maximum=86_400),
    Setting("pages", bool, "Pages for people: the catalogue, a playground, the docs."),
    Setting("demo_requests_per_minute", int, "Of all visitors of the playground; 0 is none.", minimum=0, maximum=10**6),
    Setting("demo_documents", int, "Documents of a visitor's request.", minimum=1, maximum=1_000),
    Setting("cors_origins", list, "Origins whose pages may ask; `*` is all.", flag="--cors-origin"),
    Setting("metrics_public", bool, "/metrics without a key."),
    Setting("log_level", str, "What is logged.", allowed=("debug", "info", "warning", "error")),
    Setting("otlp_endpoint", str, "OTLP/HTTP address that takes spans; empty sends none."),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def settings_from(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """`flags`: by setting's name; None or an empty list is one that was not given. `file` None: GIGARANK_CONFIG's, if set."""
    named = environment.get(CONFIG_VARIABLE)
    path = file or (Path(named) if named else None)
    values = _from_file(path) if path is not None else {}
    values |= _from_environment(environment)
    values |= {name: _checked(_BY_NAME[name], value, _BY_NAME[name].option) for name, value in flags.items() if _given(value)}
    values.setdefault("state_dir", _usual_state_dir(environment))
    kept = Path(values["state_dir"]) / KEYS_FILE
    if kept.is_file():
        values.setdefault("api_keys_file", str(kept))
    return Settings(**values)


def _given(value: Any) -> bool:
    return value is not None and value != []


def _usual_state_dir(environment: Mapping[str, str]) -> str:
    shared = environment.get("XDG_STATE_HOME")
    return str((Path(shared) if shared else Path.home() / ".local" / "state") / "gigarank")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"config: {path}: {error.strerror}", param="config", received=str(path)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadFile(f"config: {path}: no TOML: {error}", param="config", received=str(path)) from error
    for name in given:
        if name not in _BY_NAME:
            raise _unknown(f"{path}: {name}", name, list(_BY_NAME))
    return {name: _checked(_BY_NAME[name], value, f"{path}: {name}") for name, value in given.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Other programs set variables of our prefix too (a Kubernetes service of that name): only a near miss is a mistake."""
    known = {setting.variable: setting for setting in SETTINGS}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and difflib.get_close_matches(name, known, 1, _NEAR):
            raise _unknown(name, name, list(known))
    found = {}
    for name, setting in known.items():
        if environment.get(name):
            text = environment[name]
            given = [part.strip() for part in text.split(",") if part.strip()] if setting.kind is list else text
            found[setting.name] = _checked(setting, given, name)
    return found


def _unknown(place: str, name: str, known: Sequence[str]) -> InvalidInput:
    near = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return InvalidInput(f"{place}: no such setting{hint}", param=name, limit=near, received=name)


def _checked(setting: Setting, value: Any, place: str) -> Any:
    """`value` as its kind, within its bounds. Texts are read as what they should be; nothing else is converted."""
    if setting.kind is list:
        return _texts(setting, value, place)
    converted = _converted(setting.kind, value)
    if converted is None:
        raise _refused(setting, place, _KINDS[setting.kind], value)
    if setting.allowed and converted not in setting.allowed:
        raise _refused(setting, place, f"one of {', '.join(setting.allowed)}", value)
    if setting.minimum is not None and converted < setting.minimum:
        raise _refused(setting, place, f"at least {setting.minimum:g}", value, setting.minimum)
    if setting.maximum is not None and converted > setting.maximum:
        raise _refused(setting, place, f"at most {setting.maximum:.12g}", value, setting.maximum)
    return converted


_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def _texts(setting: Setting, value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) and part.strip() for part in value):
        raise _refused(setting, place, "a list of texts, none of them empty", value)
    return tuple(value)


def _converted(kind: type, value: Any) -> Any:
    """None where `value` is not of that kind. A file has types of its own: 8.5 is no port, and true is no number."""
    if kind is bool:
        text = str(value).lower()
        return True if text in _TRUE else False if text in _FALSE else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if kind is str:
        return value if isinstance(value, str) else None
    try:
        return int(str(value)) if kind is int else _finite(float(value))
    except ValueError:
        return None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _refused(setting: Setting, place: str, expected: str, value: Any, limit: Any = None) -> InvalidInput:
    shown = "something else" if setting.secret else repr(value)
    return InvalidInput(
        f"{place}: {expected} is expected; received {shown}",
        param=setting.name,
        limit=expected if limit is None else limit,
        received=None if setting.secret else value,
    )


def table() -> str:
    """The settings as a Markdown table."""
    head = ["| setting | flag | default | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(_row(setting) for setting in SETTINGS)])


def _row(setting: Setting) -> str:
    default = setting.default
    shown = ", ".join(default) if isinstance(default, tuple) else str(default).lower() if default is False else str(default)
    return f"| `{setting.name}` | `{setting.option}` | {f'`{shown}`' if shown else ''} | {setting.help} |"


def process_settings(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """settings_from, in this process's environment."""
    return settings_from(flags, os.environ, file)
