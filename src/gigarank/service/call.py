"""What an endpoint gets and gives, free of the web framework: a Call in, an Answer out, a Route to bind them.

Invariant: an endpoint that cannot answer raises a GigarankError; whoever runs the route renders it in the route's style.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gigarank.engine.work import Timing
from gigarank.errors import GigarankError, RouteNotFound
from gigarank.service.allowance import Allowance
from gigarank.service.backend import ScoringBackend, Urgency
from gigarank.service.settings import Settings
from gigarank.service.tenant import Tenant
from gigarank.types import JsonObject

ErrorStyle = Literal["superset", "integer", "tei", "dashscope"]
"""How errors look: the superset body; the same with integer codes (/api/v1); TEI's; DashScope's."""


Visitor = Literal["", "anyone", "person", "operator"]
"""Who comes without a key: anyone, who has signed in, or who has and is an operator. Empty: whoever asks needs a key."""


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
    tenant: Tenant | None = None  # None: nobody's key, or the operator's own
    client: str = ""  # the address at the connection's other end
    demo: Allowance | None = None  # what visitors without a key may ask
    upload: AsyncIterator[bytes] | None = None  # the body of a route that reads it by itself, as it comes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent. `body` is JSON; the rest goes to headers, log and metrics. `error`: the code of a rendered one. `stream`
    is sent instead of `body`, in pieces, `size` bytes in all. `close` is called when that is over, sent or not."""

    body: Any
    model: str = ""
    documents: int = 0
    tokens: int = 0
    timing: Timing = field(default_factory=Timing)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    error: str = ""
    stream: AsyncIterator[bytes] | None = None
    size: int = 0
    close: Callable[[], None] | None = None


Endpoint = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path. `parameters` in braces; `{model:path}` may hold slashes. `listed`: whether OpenAPI shows it (aliases are not).

    `request` and `response` are JSON schemas; they document, and endpoints check for themselves. `public` needs no key.
    `query` describes the URL's parameters; `also` are media types that the answer may have beside JSON. `hosted`: the name
    under which a server that keeps accounts has the endpoint.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    endpoint: Endpoint
    summary: str
    tag: str
    request: JsonObject | None = None
    response: JsonObject | None = None
    style: ErrorStyle = "superset"
    listed: bool = True
    public: bool = False
    query: Mapping[str, JsonObject] = field(default_factory=dict)
    also: Sequence[str] = ()
    statuses: Sequence[int] = (200,)  # of good answers; one from 300 on leads to its `location`
    hosted: str = ""
    visitor: Visitor = ""
    upload: bool = False  # multipart/form-data, which the endpoint reads as it comes
    page: bool = False  # HTML: found first by who accepts that; its POST is a form, and its errors are pages


Routes = Sequence[Route]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a request that ended in an error."""

    method: str
    path: str
    request_id: str


ErrorPage = Callable[[GigarankError, Asked], Answer]
"""An error as a browser shows it."""


class Gate(Protocol):
    """Who may ask and what it costs them, where a server has accounts."""

    async def start(self) -> None: ...

    async def admit(self, texts: Sequence[str], route: Route) -> Tenant:
        """Whose key is among `texts`; "" is none. Raises Unauthorized, AccessDenied, DatabaseUnavailable."""
        ...

    async def perform(self, call: Call, route: Route, content: bytes, headers: dict[str, str]) -> Answer:
        """The endpoint's answer to `call`, whose tenant is known, and what it costs settled. `headers` takes what any answer
        to the call shall say. Raises also InsufficientCredit, RateLimited, KeyReused, StillRunning."""
        ...

    async def receive(self, call: Call, route: Route) -> Answer:
        """The answer to a visitor. Raises NotSignedIn, AccessDenied, RateLimited, DatabaseUnavailable."""
        ...

    async def show(self, call: Call, route: Route) -> Answer:
        """The answer of a hosted route that needs no key."""
        ...

    async def close(self) -> None: ...


def no_account() -> RouteNotFound:
    return RouteNotFound("this key belongs to no account, or this server keeps none", param="authorization")


def tenant_of(call: Call) -> Tenant:
    """Raises RouteNotFound for a call with nobody's key, or the operator's own."""
    if call.tenant is None:
        raise no_account()
    return call.tenant
