"""An error as the reply to a request: JSON in the style of its route, with the headers that HTTP asks for."""

import orjson

from gigarank.errors import GigarankError, MethodNotAllowed, Unauthorized, UnsupportedParameter
from gigarank.service.call import Call, ErrorStyle
from gigarank.service.errors import render
from gigarank.service.http.reply import JSON, Reply


def refusal(error: GigarankError, style: ErrorStyle, request_id: str) -> Reply:
    status, headers, content = render(error, style, request_id)
    return Reply(status, {"content-type": JSON, **_hints(error), **headers}, orjson.dumps(content))


def _hints(error: GigarankError) -> dict[str, str]:
    """The headers that HTTP asks for at some statuses."""
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    return {"allow": str(error.limit)} if isinstance(error, MethodNotAllowed) else {}


def refuse_pricing(call: Call) -> None:
    """Raises UnsupportedParameter: whoever asks for the price alone does not want the work."""
    if isinstance(call.body, dict) and call.body.get("dry_run"):
        message = "dry_run: nothing is charged for this key, and so nothing has a price"
        raise UnsupportedParameter(message, param="dry_run", limit=False, received=True)
