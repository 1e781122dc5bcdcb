"""A form's bytes to its fields.

Knows no page. Invariant: what comes out are texts, each under its name; of several fields of one name, the last.
"""

from urllib.parse import parse_qsl

from gigarank.errors import InvalidInput

MAX_FIELDS = 200
_KIND = "application/x-www-form-urlencoded"


def read_form(content: bytes, content_type: str) -> dict[str, str]:
    """Raises InvalidInput."""
    if content and content_type.partition(";")[0].strip().lower() != _KIND:
        shown = content_type[:80]
        raise InvalidInput(f"content-type: {_KIND} is expected", param="content-type", limit=_KIND, received=shown)
    try:
        return dict(parse_qsl(content.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except UnicodeDecodeError as error:
        message = f"body: byte {error.start} is no UTF-8"
        raise InvalidInput(message, param="body", limit="UTF-8", received=f"byte {error.start}") from None
    except ValueError:
        message = f"body: more than {MAX_FIELDS} fields"
        raise InvalidInput(message, param="body", limit=MAX_FIELDS, received=content.count(b"&") + 1) from None
