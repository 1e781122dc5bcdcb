"""The routes as an OpenAPI document.

Knows routes' schemas and nothing of how they are answered. Invariant: the same routes give the same document, key for key; a
route that is not listed is not in it.
"""

import re

from gigarank import __version__
from gigarank.service.call import Route, Routes
from gigarank.types import JsonObject

_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")

_STATUSES = {
    "400": "The request is wrong; `param`, `limit` and `received` say where",
    "401": "No API key, or one that is not known",
    "402": "The account has not got what the request costs, or the key may not spend it",
    "403": "The key may not do this, or not with this model",
    "404": "No such path or model",
    "405": "The path has other methods",
    "408": "The body did not arrive in time",
    "409": "The Idempotency-Key is another request's, or its first request is not answered yet",
    "413": "More documents or bytes than one request may hold",
    "429": "The queue is full, or a limit of the account or the key is reached; Retry-After says when to try again",
    "431": "More of a request's line and headers than is read",
    "500": "An error of the server; its log has the place under the request's id",
    "503": "The model is loading or the server shuts down; Retry-After says when to try again",
    "504": "Not ready by `deadline_ms`, where an answer is whole or none",
}


def document(routes: Routes, error_schema: JsonObject) -> JsonObject:
    paths: dict[str, JsonObject] = {}
    for route in routes:
        if route.listed:
            operations = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
            operations.setdefault(route.method.lower(), _operation(route))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gigarank",
            "version": __version__,
            "description": "Reranking with the Qwen3-Reranker models, in the formats of the APIs that clients already speak.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": error_schema},
            "responses": {status: _error(text) for status, text in _STATUSES.items()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-gigarank"},
            },
        },
        "security": [{"bearer": []}, {"apiKey": []}],
    }


def _error(text: str) -> JsonObject:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def _operation(route: Route) -> JsonObject:
    schema = route.response if route.response is not None else {}
    operation: JsonObject = {
        "operationId": _name(route),
        "summary": route.summary,
        "tags": [route.tag],
        "responses": {str(status): _good(route, status, schema) for status in route.statuses},
    }
    in_path = [_parameter(name) for name in _PARAMETER.findall(route.path)]
    in_query = [{"name": name, "in": "query", "schema": kind} for name, kind in route.query.items()]
    if in_path or in_query:
        operation["parameters"] = in_path + in_query
    if route.method == "POST" and (route.request is not None or not route.hosted):
        media = "multipart/form-data" if route.upload else "application/json"
        content = {media: {"schema": route.request if route.request is not None else {"type": "object"}}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.public or route.visitor == "anyone":
        operation["security"] = []
    elif route.visitor:
        operation["security"] = [{"session": []}]
    operation["responses"] |= {status: {"$ref": f"#/components/responses/{status}"} for status in _STATUSES}
    return operation


def _good(route: Route, status: int, schema: JsonObject) -> JsonObject:
    content: JsonObject = {"content": _content(route, schema)}
    if status < 300:
        return {"description": "The answer", **content}
    return {"description": "On to `location`", "headers": {"location": {"schema": {"type": "string"}}}, **content}


def _content(route: Route, schema: JsonObject) -> JsonObject:
    others: JsonObject = {media: {"schema": {"type": "string"}} for media in route.also}
    return {"application/json": {"schema": schema}, **others}


def _name(route: Route) -> str:
    return re.sub(r"[^a-z0-9]+", "_", f"{route.method} {route.path}".lower()).strip("_")


def _parameter(name: str) -> JsonObject:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
