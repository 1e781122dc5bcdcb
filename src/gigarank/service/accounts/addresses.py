"""What a text says of where somebody is: an IP address, however a socket or a proxy writes it. Pure.

Invariant: one machine's IPv4 address is one address, whether the server listens on 0.0.0.0 or on ::, and whatever its port.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_address(text: str) -> Address | None:
    """None: it is no address. A port and a zone are left away."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_own(text: str) -> bool:
    """Whether it is this machine's own, which no other one can come from."""
    address = read_address(text)
    return address is not None and address.is_loopback
