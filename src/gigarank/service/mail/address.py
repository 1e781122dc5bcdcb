"""Which text is the address of one mailbox. Knows no database and no SMTP.

Invariant: what is an address here means itself to whoever reads it: no header, no mail server finds another address, a list
or a comment in it. Hence a dot-atom in ASCII, without what some servers take for a route (%, !) or a header for a code (?).
"""

import re

_ATOM = r"[a-z0-9#$&'*+/=^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@.{{1,255}}\Z){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def is_address(text: str) -> bool:
    """`text`: in lower case."""
    return _ADDRESS.fullmatch(text) is not None
