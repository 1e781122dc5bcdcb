"""The pages of people who sign in, and where they stand. Data.

Invariant: each is named by its method and path, under which people_pages.py has its endpoint.
"""

from gigarank.service.call import Route, Routes, Visitor
from gigarank.service.hosted_routes import unhosted

ENTRY = ("/sign-up", "/sign-in", "/forgot", "/account/verify", "/account/reset", "/account/email")
"""Forms that anyone may fill in, each at the path of its page."""
CONSOLE = "/console"
SECTIONS = (
    (CONSOLE, "Overview"),
    (f"{CONSOLE}/keys", "Keys"),
    (f"{CONSOLE}/usage", "Usage"),
    (f"{CONSOLE}/requests", "Requests"),
    (f"{CONSOLE}/limits", "Limits"),
    (f"{CONSOLE}/credit", "Credit"),
    (f"{CONSOLE}/batches", "Batches"),
    (f"{CONSOLE}/settings", "Settings"),
)
_BOTH = ("password", "email", "delete", "credit", "settings", "keys/new", "keys/{key_id}", "batches")
"""A page, and the form on it."""
_SHOWN = ("keys", "usage", "requests", "limits", "logs", "logs/{log_id}", "batches/{batch_id}", "files/{file_id}")
_DONE = (
    *("sign-out", "sign-out-everywhere", "sessions/{session_id}/end", "keys/{key_id}/delete", "logs/{log_id}/delete"),
    *("files", "files/{file_id}/delete", "batches/{batch_id}/cancel"),
)
OPERATOR = "/operator"
WORK = (
    (OPERATOR, "Accounts"),
    (f"{OPERATOR}/models", "Models"),
    (f"{OPERATOR}/queues", "Queues"),
    (f"{OPERATOR}/health", "Health"),
)
_UPLOADS = (f"POST {CONSOLE}/files",)
_PAGES: dict[Visitor, tuple[str, ...]] = {
    "anyone": (*(f"{method} {path}" for path in ENTRY for method in ("GET", "POST")),),
    "person": (
        f"GET {CONSOLE}",
        *(f"GET {CONSOLE}/{name}" for name in (*_BOTH, *_SHOWN)),
        *(f"POST {CONSOLE}/{name}" for name in (*_BOTH, *_DONE)),
    ),
    "operator": (
        *(f"GET {path}" for path, _ in WORK),
        *(f"GET {OPERATOR}/accounts/{{account_id}}", f"POST {OPERATOR}/accounts/{{account_id}}/grant"),
        *(f"POST {OPERATOR}/accounts/{{account_id}}/state", f"POST {OPERATOR}/models", f"POST {OPERATOR}/models/state"),
        *(f"GET {OPERATOR}/onboard", f"POST {OPERATOR}/onboard", f"POST {OPERATOR}/onboard/stop"),
    ),
}


def _route(visitor: Visitor, name: str) -> Route:
    method, path = name.split(" ")
    return Route(
        "POST" if method == "POST" else "GET",
        *(path, unhosted, "A page of people", "pages"),
        listed=False,
        page=True,
        hosted=name,
        visitor=visitor,
        upload=name in _UPLOADS,
    )


ROUTES: Routes = tuple(_route(visitor, name) for visitor, names in _PAGES.items() for name in names)
