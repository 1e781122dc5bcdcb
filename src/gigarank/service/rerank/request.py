"""The one internal request and answer that all dialects share, and the parser that reads any of their spellings.

Knows no path and no model. Invariant: reading ends in a request or in a GigarankError, whatever the body holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gigarank.engine.fusion import check_first_stage
from gigarank.engine.work import Outcome, Tier, Timing
from gigarank.errors import InvalidInput
from gigarank.service.backend import Urgency
from gigarank.service.call import Call
from gigarank.service.rerank import fields, sizes
from gigarank.service.rerank.fields import OnError
from gigarank.service.rerank.texts import BLANK_QUERY, NO_DOCUMENTS, Document, read_documents, read_queries
from gigarank.service.rerank.values import shown
from gigarank.types import Usage, Windows

_QUERY_NAMES = ("query", "queries", "input.query", "input.queries")
_DOCUMENT_NAMES = ("documents", "texts", "passages", "items", "input.documents", "input")
_ANY_MODEL = ("", "default/not-specified", "default")  # what clients send that were told no name
_OVERLAP_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """One query and its documents, as they came."""

    query: str
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """`top_n` None: all. `return_documents` None: not said, the path's default holds. Token counts; None is no limit."""

    instruction: str | None = None
    top_n: int | None = None
    return_documents: bool | None = None
    score_threshold: float | None = None
    raw_scores: bool = False
    on_error: OnError = "skip"
    max_document_tokens: int | None = None
    max_query_tokens: int | None = None
    truncate: bool = True
    windows: Windows | None = None
    first_stage_scores: tuple[float, ...] | None = None
    first_stage_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """`model` None: the server's default. `many`: the client asked with an array of queries and wants one back."""

    model: str | None
    searches: tuple[Asked, ...]
    options: Options
    urgency: Urgency
    many: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """One result: document `index` of its search and what became of it. `score` is what the client asked for."""

    index: int
    score: float
    document: Document
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RerankAnswer:
    """`searches[s]` holds the results of search s, best first, cut to top_n; `outcomes[s][d]` every document's, as asked.

    `usage` counts what was computed: a shared prefix once, documents once each. `search_units` are Cohere's: queries times
    hundreds of documents, rounded up.
    """

    id: str
    model: str
    created: int  # Unix seconds
    searches: tuple[tuple[Ranked, ...], ...]
    unsorted: tuple[tuple[Ranked, ...], ...]
    usage: Usage
    search_units: int
    tier: Tier
    warnings: tuple[str, ...]
    timing: Timing

    @property
    def results(self) -> tuple[Ranked, ...]:
        """The results of the first search: all there are, unless many were asked."""
        return self.searches[0]


def read_body(call: Call) -> dict[str, Any]:
    """The body as an object; raises InvalidInput."""
    if not isinstance(call.body, dict):
        kind = shown(call.body)
        raise InvalidInput(f"body: must be a JSON object, not {kind!r}", param="body", limit="object", received=kind)
    return call.body


def read_request(call: Call) -> RerankRequest:
    """A request with `query` (or many) and `documents`, in any spelling; raises InvalidInput, RequestTooLarge."""
    body = read_body(call)
    name, asked = find_queries(body)
    sizes.check_searches(asked, fields.find(body, _DOCUMENT_NAMES)[1], call.settings.max_documents)
    queries, many = read_queries(asked, name)
    searches, options = _searches(body, queries, many), read_options(body)
    _check_first_stage(options, searches)
    if many and options.return_documents:
        sizes.check_echo([search.documents for search in searches], options.top_n, call.settings.max_body_bytes)
    return RerankRequest(read_model(body), searches, options, read_urgency(body, call), many)


def find_queries(body: Mapping[str, Any], more_names: tuple[str, ...] = ()) -> tuple[str, Any]:
    """The queries' name and what stands there; raises InvalidInput where there is nothing."""
    name, value = fields.find(body, (*more_names, *_QUERY_NAMES))
    if value is None:
        raise InvalidInput(BLANK_QUERY, param=name, limit=1, received=0)
    return name, value


def find_documents(body: Mapping[str, Any], more_names: tuple[str, ...] = ()) -> tuple[str, Any]:
    """As `find_queries`; DashScope's `input`, an object around both, is no documents."""
    name, value = fields.find(body, (*more_names, *_DOCUMENT_NAMES))
    if value is None or (name == "input" and isinstance(value, dict)):
        raise InvalidInput(NO_DOCUMENTS, param="input.documents" if value else name, limit=1, received=0)
    return name, value


def _searches(body: Mapping[str, Any], queries: tuple[str, ...], many: bool) -> tuple[Asked, ...]:
    """All queries over the same documents, or each over its own where the documents are arrays, one a query."""
    name, value = find_documents(body)
    rank_fields = fields.RANK_FIELDS.take(body) or ()
    if many and isinstance(value, list) and value and all(isinstance(item, list) for item in value):
        if len(value) != len(queries):
            raise InvalidInput(
                f"{name}: one array a query is needed, {len(queries)} in all, not {len(value)}",
                param=name,
                limit=len(queries),
                received=len(value),
            )
        lists = [read_documents(item, f"{name}[{place}]", rank_fields) for place, item in enumerate(value)]
        return tuple(Asked(query, documents) for query, documents in zip(queries, lists, strict=True))
    documents = read_documents(value, name, rank_fields)
    return tuple(Asked(query, documents) for query in queries)


def read_model(body: Mapping[str, Any]) -> str | None:
    model = fields.MODEL.take(body) or ""
    return None if model in _ANY_MODEL else model


def read_options(body: Mapping[str, Any]) -> Options:
    """Everything but texts, model and urgency."""
    activated, raw = fields.USE_ACTIVATION.take(body), fields.RAW_SCORES.take(body)
    preset, instruction = fields.PRESET.take(body), fields.INSTRUCTION.take(body)
    top_n = fields.TOP_N.take(body)
    truncate, weight = fields.TRUNCATE.take(body), fields.FIRST_STAGE_WEIGHT.take(body)
    fields.SIDE.take(body)
    return Options(
        instruction=preset or instruction,
        top_n=top_n if top_n is not None and top_n > 0 else None,
        return_documents=fields.RETURN_DOCUMENTS.take(body),
        score_threshold=fields.SCORE_THRESHOLD.take(body),
        raw_scores=bool(raw) or activated is False,
        on_error=fields.ON_ERROR.take(body) or "skip",
        max_document_tokens=_document_limit(body),
        max_query_tokens=fields.MAX_QUERY.take(body) or None,
        truncate=truncate is not False,
        windows=_windows(body),
        first_stage_scores=fields.FIRST_STAGE.take(body),
        first_stage_weight=1.0 if weight is None else weight,
    )


def _check_first_stage(options: Options, searches: Sequence[Asked]) -> None:
    """One query's documents have such scores; of many queries nobody could tell whose they are."""
    if options.first_stage_scores is None:
        return
    if len(searches) > 1:
        message = f"first_stage_scores: for one query, not for {len(searches)}; send a request for each"
        raise InvalidInput(message, param="first_stage_scores", limit=1, received=len(searches))
    check_first_stage(options.first_stage_scores, options.first_stage_weight, len(searches[0].documents))


def _document_limit(body: Mapping[str, Any]) -> int | None:
    limits = (fields.MAX_DOCUMENT.take(body), fields.MAX_PROMPT.take(body))
    return min((limit for limit in limits if limit is not None and limit > 0), default=None)


def _windows(body: Mapping[str, Any]) -> Windows | None:
    most, overlap = fields.MAX_CHUNKS.take(body), fields.OVERLAP.take(body)
    if not most and overlap is None:
        return None
    return Windows(_OVERLAP_TOKENS if overlap is None else overlap, most or None)


def read_urgency(body: Mapping[str, Any], call: Call) -> Urgency:
    """What the headers say, where the body says nothing else."""
    priority, deadline_ms = fields.PRIORITY.take(body), fields.DEADLINE.take(body)
    tier, speed = fields.SERVICE_TIER.take(body), fields.LATENCY.take(body)
    return replace(
        call.urgency,
        priority=call.urgency.priority if priority is None else priority,
        tier=tier or speed or call.urgency.tier,
        deadline=call.urgency.deadline if deadline_ms is None else call.received + deadline_ms / 1e3,
    )
