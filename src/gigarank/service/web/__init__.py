"""What people see: pages rendered here and sent beside the API, by the same dispatch.

To add a page: write `templates/NAME.html`, which extends base.html and builds its parts from macros.html; write an endpoint
that returns `rendering.page(call, "NAME.html", {...})`; put a Route with `page=True` into routes.py, and its name into NAV of
rendering.py if the header shall lead there. A page that a server with accounts makes from its database has a second endpoint,
which gets a Desk: the Route's `hosted` names it in hosted_pages.py. A page of people has a `visitor` (see call.py) and its one
endpoint in people_pages.py, which gets an Office and a Guest; it raises NotSignedIn freely, for a browser is led to SIGN_IN and
back. It passes `csrf=csrf_token(guest.token)` on, and each of its forms holds the macro `csrf`; Door checks it.

A POST of a page is a form: `call.body` holds its fields, texts all, and it answers with `rendering.see_other(path)`. Scripts
are modules in static/, found by `asset(name)`; nothing is inline, for the policy in headers.py forbids it. A path that the API
has too (`/models`) is a page for whoever accepts text/html, and the API's for all others; see http/paths.py.

Knows calls and answers, and nothing of sockets. Invariant: every page works without scripts, and asks nothing of other hosts.
"""

SIGN_IN = "/sign-in"
"""Where a browser is led that has to sign in; `?next=` is the path to come back to."""
