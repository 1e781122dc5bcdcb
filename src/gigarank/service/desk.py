"""What the endpoints of accounts work at: an open database, the keys' secrets and the time of the request.

Values only. Invariant: a Desk exists only where a server keeps accounts, and a call that reaches one has a tenant.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gigarank.service.batches.storage import Depot
from gigarank.service.call import Answer, Call
from gigarank.service.db import Database
from gigarank.service.keys.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Desk:
    """`now`: Unix seconds."""

    database: Database
    secrets: Secrets
    now: int
    depot: Depot


HostedEndpoint = Callable[[Desk, Call], Awaitable[Answer]]
HostedEndpoints = Mapping[str, HostedEndpoint]
"""By their names in hosted_routes.py."""
