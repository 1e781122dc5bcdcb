"""How often somebody may try: by client and by address, through the limits that requests are counted with.

Knows no account: an address is counted whether it has one or not. Invariant: what is counted is named by a digest, so that
neither memory nor Redis holds an address.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Literal

from gigarank.service.accounts.addresses import read_address
from gigarank.service.call import Call
from gigarank.service.metering.limits import RateLimiter

What = Literal["sign_in", "mail", "token", "look", "export"]
"""sign_in: a password is tried. mail: a letter is asked for. token: what only its holder knows is tried.
look: what everybody may see is asked for. export: all of one's own is."""
_MINUTES = 15
_MOST_OF_CLIENT: dict[What, int] = {"sign_in": 50, "mail": 20, "token": 200, "look": 900, "export": 20}
_MOST_OF_ADDRESS: dict[What, int] = {"sign_in": 10, "mail": 5, "token": 20, "export": 3}


@dataclass(frozen=True, slots=True)
class Attempts:
    limiter: RateLimiter

    async def enter(self, what: What, client: str, address: str = "") -> None:
        """Counts one. Raises RateLimited, DatabaseUnavailable."""
        await self.limiter.attempt(what, "client", _digest(client), _MOST_OF_CLIENT[what], _MINUTES)
        if address:
            await self.limiter.attempt(what, "address", _digest(address), _MOST_OF_ADDRESS[what], _MINUTES)


def client_of(call: Call) -> str:
    """Where the request is from: the socket's other end, or what one's own proxy says in `client_header`, last. Of IPv6 the
    first 64 bits, since who has one address has as many. What the header says and is no address does not count."""
    named = call.headers.get(call.settings.client_header.lower(), "") if call.settings.client_header else ""
    address = read_address(named.rpartition(",")[2]) or read_address(call.client)
    if address is None:
        return call.client[:64]
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
