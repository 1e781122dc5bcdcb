"""The routes that accounts add, for every server to describe, and for those that keep accounts to answer.

Data: the endpoints stand in hosted_endpoints.py, which loads the database. Invariant: the path under /v1 comes first and is
the only one that OpenAPI lists; a server without accounts answers 404 on all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gigarank.service import hosted_schemas as schemas
from gigarank.service.batches import response_schemas as files
from gigarank.service.bodies import response_schemas as bodies
from gigarank.service.call import Answer, Call, Route, Routes, no_account
from gigarank.service.catalogue import response_schemas as catalogue
from gigarank.types import JsonObject

_OPENROUTER = "/api/v1"


async def unhosted(_call: Call) -> Answer:
    raise no_account()


@dataclass(frozen=True, slots=True)
class _Hosted:
    """`tag`: whose it is, see metering.gate. `elsewhere`: whole paths of the same endpoint."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    summary: str
    tag: str
    response: JsonObject
    request: JsonObject | None = None
    elsewhere: Sequence[str] = ()
    query: Mapping[str, JsonObject] = field(default_factory=dict)
    also: Sequence[str] = ()
    upload: bool = False
    public: bool = False


_ENDPOINTS = (
    _Hosted(
        "show_key",
        "GET",
        "/v1/key",
        "The key that asks: its terms and what it has spent",
        "key",
        schemas.KEY,
        elsewhere=(f"{_OPENROUTER}/key", f"{_OPENROUTER}/auth/key"),
    ),
    _Hosted(
        "mint_token",
        "POST",
        "/v1/key/token",
        "A token of the key that asks, for a short time and no more than the key may do",
        "key",
        schemas.TOKEN,
        schemas.TOKEN_REQUEST,
    ),
    _Hosted(
        "show_credits",
        "GET",
        "/v1/credits",
        "What the account was granted, has used and has left",
        "account",
        schemas.CREDITS,
        elsewhere=(f"{_OPENROUTER}/credits",),
    ),
    _Hosted("show_account", "GET", "/v1/account", "The account whose key asks", "account", schemas.ACCOUNT),
    _Hosted(
        "sum_usage",
        "GET",
        "/v1/usage",
        "What the account used, by day, key and model",
        "account",
        schemas.USAGE,
        query=schemas.USAGE_QUERY,
        also=("text/csv",),
    ),
    _Hosted(
        "list_requests",
        "GET",
        "/v1/usage/requests",
        "The account's requests, one by one, the newest first",
        "account",
        schemas.REQUESTS,
        query=schemas.REQUESTS_QUERY,
        also=("text/csv",),
    ),
)
_FILE, _BATCH = "/v1/files/{file_id}", "/v1/batches/{batch_id}"
_BATCHES = (
    _Hosted(
        *("create_file", "POST", "/v1/files", "Keep a file of batch requests", "batches", files.FILE, files.FILE_REQUEST),
        upload=True,
    ),
    _Hosted(
        *("list_files", "GET", "/v1/files", "The account's files, the newest first", "batches", files.FILE_LIST),
        query=files.FILES_QUERY,
    ),
    _Hosted("show_file", "GET", _FILE, "One file", "batches", files.FILE),
    _Hosted(
        *("file_content", "GET", f"{_FILE}/content", "A file's bytes", "batches", files.CONTENT), also=("application/jsonl",)
    ),
    _Hosted("delete_file", "DELETE", _FILE, "Delete a file", "batches", files.DELETED),
    _Hosted(
        *("create_batch", "POST", "/v1/batches", "Ask all requests of a file", "batches", files.BATCH, files.BATCH_REQUEST)
    ),
    _Hosted(
        *("list_batches", "GET", "/v1/batches", "The account's batches, the newest first", "batches", files.BATCH_LIST),
        query=files.BATCHES_QUERY,
    ),
    _Hosted("show_batch", "GET", _BATCH, "One batch and how far it is", "batches", files.BATCH),
    _Hosted("cancel_batch", "POST", f"{_BATCH}/cancel", "End a batch with what it has", "batches", files.BATCH),
)

_TERMS, _LOG = "/v1/logging", "/v1/logs/{log_id}"
_BODIES = (
    _Hosted("show_body_terms", "GET", _TERMS, "For how long bodies of requests are kept", "account", bodies.TERMS),
    _Hosted(
        *("set_body_terms", "POST", _TERMS, "Keep bodies of the account's or a key's requests, or keep none", "account"),
        *(bodies.TERMS, bodies.TERMS_REQUEST),
    ),
    _Hosted(
        *("list_logs", "GET", "/v1/logs", "Requests whose bodies are kept, the newest first", "account", bodies.LOGS),
        query=bodies.LOGS_QUERY,
    ),
    _Hosted("delete_logs", "DELETE", "/v1/logs", "Delete all bodies that are kept", "account", bodies.DELETED),
    _Hosted("show_log", "GET", _LOG, "One request and its answer", "account", bodies.LOG),
    _Hosted("delete_log", "DELETE", _LOG, "Delete one request's bodies", "account", bodies.DELETED),
)

_MODEL = "/v1/catalogue/{model:path}"
_CATALOGUE = (
    _Hosted(
        *("list_catalogue", "GET", "/v1/catalogue", "Models that are served, measured or asked for", "catalogue"),
        catalogue.ENTRIES,
        query=catalogue.ENTRIES_QUERY,
        public=True,
    ),
    _Hosted(
        *("ask_for_model", "POST", "/v1/catalogue", "Ask for a model: one vote an account", "catalogue"),
        *(catalogue.ENTRY, catalogue.ASK),
    ),
    _Hosted(
        *("show_catalogue", "GET", _MODEL, "One model: its state, specs, votes and figures", "catalogue", catalogue.ENTRY),
        public=True,
    ),
    _Hosted("take_back_vote", "DELETE", _MODEL, "Take back the account's vote", "catalogue", catalogue.ENTRY),
)


def _routes() -> Iterator[Route]:
    for hosted in (*_ENDPOINTS, *_BATCHES, *_BODIES, *_CATALOGUE):
        for path in (hosted.path, *hosted.elsewhere):
            yield Route(
                hosted.method,
                path,
                unhosted,
                hosted.summary,
                hosted.tag,
                hosted.request,
                hosted.response,
                style="integer" if path.startswith("/api/") else "superset",
                listed=path == hosted.path,
                query=hosted.query,
                also=hosted.also,
                hosted=hosted.name,
                upload=hosted.upload,
                public=hosted.public,
            )


ROUTES: Routes = tuple(_routes())
