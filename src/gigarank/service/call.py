"""What an endpoint gets and gives, free of the web framework: a Call in, an Answer out, a Route to bind them.

Invariant: an endpoint that cannot answer raises a GigarankError; whoever runs the route renders it in the route's style.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gigarank.engine.work import Timing
from gigarank.service.backend import ScoringBackend, Urgency
from gigarank.service.settings import Settings
from gigarank.types import JsonObject

ErrorStyle = Literal["superset", "integer", "tei", "dashscope"]
"""How errors look: the superset body; the same with integer codes (/api/v1); TEI's; DashScope's."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `body` is the parsed JSON ({} for GET); header names are lower case; `query` the URL's parameters.

    `urgency` holds what headers say of tier, deadline and waiting; a dialect may add what the body says.
    """

    request_id: str
    body: Any
    headers: Mapping[str, str]
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    backend: ScoringBackend
    settings: Settings
    received: float  # time.monotonic()
    created: int  # Unix seconds
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent. `body` is JSON; the rest goes to headers, log and metrics. `error`: the code of a rendered one."""

    body: Any
    model: str = ""
    documents: int = 0
    tokens: int = 0
    timing: Timing = field(default_factory=Timing)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    error: str = ""


Endpoint = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `parameters` in braces; `{model:path}` may hold slashes. `listed`: whether OpenAPI shows it (aliases are not).

    `request` and `response` are JSON schemas; they document, and endpoints check for themselves. `public` needs no key.
    """

    method: Literal["GET", "POST"]
    path: str
    endpoint: Endpoint
    summary: str
    tag: str
    request: JsonObject | None = None
    response: JsonObject | None = None
    style: ErrorStyle = "superset"
    listed: bool = True
    public: bool = False


Routes = Sequence[Route]
