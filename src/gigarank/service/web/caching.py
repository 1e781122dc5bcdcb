"""Answers that a browser need not be sent twice: an ETag, and 304 where it has the same already."""

import hashlib
from collections.abc import Mapping

from gigarank.service.call import Answer, Call


def tagged(call: Call, content: bytes, headers: Mapping[str, str], status: int = 200) -> Answer:
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    told = {**headers, "etag": tag}
    known = [one.strip().removeprefix("W/") for one in call.headers.get("if-none-match", "").split(",")]
    if status == 200 and tag in known:
        return Answer(b"", headers=told, status=304)
    return Answer(content, headers=told, status=status)
