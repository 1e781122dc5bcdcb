"""The headers of pages: what a browser may load, keep and tell. Data.

Invariant: no page runs a script or a style that is not a file of this server.
"""

from collections.abc import Mapping

HTML = "text/html; charset=utf-8"
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
GUARDS: Mapping[str, str] = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "vary": "accept, cookie",
}
FRESH = "private, no-cache"
"""Kept by the browser alone, and asked for again by its ETag."""
FOREVER = "public, max-age=31536000, immutable"
