"""Who may ask: the headers that clients put a key in, and keys that change while the server runs."""

import logging
import os
from pathlib import Path

import pytest
from fastapi import FastAPI

from asgi import Reply, ask, getting, posting
from gigarank.errors import BadFile, InvalidInput
from gigarank.service.app import create_app
from gigarank.service.call import Answer, Call, Route
from gigarank.service.fake import FakeBackend
from gigarank.service.http import keys
from gigarank.service.http.keys import KeyRing
from gigarank.service.settings import Settings

KEY, OTHER = "sk-first", "sk-zweiter-schlüssel"


async def fine(call: Call) -> Answer:
    return Answer({})


def guarded(*api_keys: str, file: Path | None = None, metrics_public: bool = False) -> FastAPI:
    settings = Settings(api_keys=api_keys, api_keys_file=str(file or ""), metrics_public=metrics_public)
    return create_app(settings, FakeBackend(), [Route("POST", "/v1/rerank", fine, "", "rerank")])


def status(app: FastAPI, **headers: str) -> int:
    return ask(app, posting({}, **headers)).status


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"authorization": KEY},
        {"x_api_key": KEY},
        {"Api_Key": KEY},
        {"authorization": "Bearer placeholder", "x_api_key": KEY},
    ],
    ids=str,
)
def test_a_key_is_taken_where_clients_put_it(headers: dict[str, str]) -> None:
    assert status(guarded("sk-another", KEY), **headers) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {KEY[:-1]}"},
        {"x_api_key": ""},
    ],
    ids=str,
)
def test_anything_else_is_401(headers: dict[str, str]) -> None:
    reply: Reply = ask(guarded(KEY), posting({}, **headers))
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert KEY[:-1].encode() not in reply.body


def test_a_key_beyond_ascii_is_a_key() -> None:
    app = guarded(OTHER)
    assert status(app, authorization="Bearer " + OTHER.encode().decode("latin-1")) == 200
    assert status(app, authorization="Bearer " + OTHER) == 401  # as latin-1, which is not how it was written


def test_without_keys_everybody_may_ask() -> None:
    assert status(guarded()) == 200


def test_probes_need_no_key_and_metrics_do_unless_told() -> None:
    app = guarded(KEY)
    assert {ask(app, getting(path)).status for path in ("/health", "/ready", "/openapi.json")} == {200}
    assert ask(app, getting("/metrics")).status == 401
    assert ask(app, getting("/metrics", x_api_key=KEY)).status == 200
    assert ask(guarded(KEY, metrics_public=True), getting("/metrics")).status == 200


def test_an_unknown_path_needs_no_key_to_be_unknown() -> None:
    assert ask(guarded(KEY), posting({}, "/nowhere")).status == 404


# The file.


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keys, "_LOOK_AGAIN_S", 0.0)
    path = tmp_path / "keys"
    path.write_text(f"# ours\n{KEY}\n\n  {OTHER}  \n")
    return path


def test_keys_come_from_a_file_too(file: Path) -> None:
    app = guarded("sk-flag", file=file)
    assert [status(app, x_api_key=key) for key in (KEY, "sk-flag", "# ours", "")] == [200, 200, 401, 401]
    assert len(app.state.keys) == 3


def test_a_changed_file_counts_without_a_restart(file: Path) -> None:
    app = guarded("sk-flag", file=file)
    assert status(app, x_api_key=KEY) == 200
    file.write_text("sk-new\n")
    assert [status(app, x_api_key=key) for key in (KEY, "sk-new", "sk-flag")] == [401, 200, 200]


def test_the_same_file_is_not_read_again(file: Path) -> None:
    ring = KeyRing((), file)
    before = file.stat()
    ring.check({"x-api-key": KEY})
    file.write_text(file.read_text().replace(KEY, "sk-secnd"))  # of the same length
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    ring.check({"x-api-key": KEY})
    ring.reload()  # as SIGHUP does
    ring.check({"x-api-key": "sk-secnd"})


def test_a_file_that_goes_away_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = guarded(file=file)
    file.unlink()
    assert status(app, x_api_key=KEY) == 200
    assert "keys kept as they were" in caplog.text


def test_an_empty_file_opens_nothing(file: Path) -> None:
    file.write_text("# nobody\n")
    app = guarded(file=file)
    assert status(app) == 401
    assert status(app, authorization="Bearer ") == 401


def test_a_file_may_have_comments_anywhere_and_a_byte_order_mark(file: Path) -> None:
    file.write_bytes("\ufeffone\n  # of the team that left\n\ttwo \n".encode())
    app = guarded(file=file)
    assert [status(app, authorization=f"Bearer {key}") for key in ("one", "two")] == [200, 200]
    assert status(app, authorization="Bearer # of the team that left") == 401


def test_a_given_key_counts_without_the_blanks_around_it_and_an_empty_one_is_refused() -> None:
    assert status(guarded(" secret\n"), authorization="Bearer secret") == 200
    with pytest.raises(InvalidInput, match="api_keys: a key is empty"):
        guarded("  ")


def test_a_file_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"api_keys_file.*No such file"):
        guarded(file=tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match="no UTF-8"):
        guarded(file=tmp_path / "binary")


def test_keys_are_kept_as_digests_only(file: Path) -> None:
    ring = KeyRing((KEY,), file)
    kept = repr({name: getattr(ring, name) for name in vars(ring)})
    assert KEY not in kept and OTHER not in kept
