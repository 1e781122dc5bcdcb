"""From a request to an answer: score, order, cut, and say what was not as asked.

Knows no dialect and no HTTP. Invariant: with neither top_n nor score_threshold every document of the request has exactly one
result; those without a score stand last, in the order of the request, and carry 0.0 so that numeric clients can read them.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from gigarank.engine.fusion import order_key, with_fused
from gigarank.engine.work import Failure, Outcome, Result, Search, Unscored, Work
from gigarank.errors import GigarankError, InvalidInput, UnknownModel
from gigarank.service import offered
from gigarank.service.backend import ModelState
from gigarank.service.call import Call
from gigarank.service.offered import default_model
from gigarank.service.rerank.request import Asked, Options, Ranked, RerankAnswer, RerankRequest
from gigarank.types import Score

UNSCORED_LOGIT = -1_000.0
"""What stands for the logit of a document without a score where a number is needed: its probability is 0.0."""
_DOCUMENTS_A_UNIT = 100
_NAMED = 10  # how many documents a warning lists


async def rerank(call: Call, request: RerankRequest) -> RerankAnswer:
    """Raises GigarankError: an unknown model, an embedder, and what the backend raises."""
    model = find_model(call, request.model)
    result = await call.backend.score(model.name, _work(request), request.urgency.wait_s)
    outcomes = [_merged(asked, scored) for asked, scored in zip(request.searches, result.outcomes, strict=True)]
    _raise_failures(outcomes, request.options)
    outcomes = [_fused(some, request.options) for some in outcomes]
    return _answer(call, request, model, result, outcomes)


def find_model(call: Call, name: str | None) -> ModelState:
    """The reranker of that name or alias, or the default one; raises UnknownModel, or InvalidInput for an embedder."""
    states = call.backend.models()
    if not name:
        return default_model(states, call.settings.default_model, "reranker")
    if (state := offered.find_model(states, name)) is not None:
        return _reranker(state)
    names = ", ".join(state.name for state in states if state.kind == "reranker")
    received = name[:60]
    raise UnknownModel(
        f"model {received!r} not found, make sure the correct model ID was used and that you have access to the model. "
        f"This server has: {names}",
        param="model",
        limit=names,
        received=received,
    )


def _reranker(state: ModelState) -> ModelState:
    if state.kind == "reranker":
        return state
    raise InvalidInput(
        f"model: {state.name} is an {state.kind}, not a reranker; it answers on /v1/embeddings",
        param="model",
        limit="reranker",
        received=state.kind,
    )


def _work(request: RerankRequest) -> Work:
    options, urgency = request.options, request.urgency
    return Work(
        tuple(_search(asked, options.instruction) for asked in request.searches),
        urgency.priority,
        urgency.tier,
        urgency.deadline,
        options.max_document_tokens,
        options.max_query_tokens,
        options.truncate,
        options.windows,
    )


def _search(asked: Asked, instruction: str | None) -> Search:
    texts = tuple(document.text for document in asked.documents if document.failure is None)
    if not texts:
        failures = [document.failure for document in asked.documents if document.failure is not None]
        raise failures[0]
    return Search(asked.query, texts, instruction)


def _merged(asked: Asked, scored: Sequence[Outcome]) -> list[Outcome]:
    """An outcome for every document that came: the backend's for those it was given, else why it was not."""
    answers = iter(scored)
    return [
        _placed(next(answers), index) if document.failure is None else Failure(index, document.failure)
        for index, document in enumerate(asked.documents)
    ]


def _placed(outcome: Outcome, index: int) -> Outcome:
    match outcome:
        case Score():
            score = outcome
            return Score(index, score.relevance_score, score.logit, score.tokens, score.truncated, score.window)
        case Failure():
            return Failure(index, outcome.error)
        case Unscored():
            return Unscored(index)


def _fused(outcomes: list[Outcome], options: Options) -> list[Outcome]:
    """What was scored, with the sum of both stages' scores where the first's are there; what was not stays as it is."""
    if options.first_stage_scores is None:
        return outcomes
    scored = [one for one in outcomes if isinstance(one, Score)]
    fused = iter(with_fused(scored, options.first_stage_scores, options.first_stage_weight))
    return [next(fused) if isinstance(one, Score) else one for one in outcomes]


def _raise_failures(outcomes: Sequence[Sequence[Outcome]], options: Options) -> None:
    """The first document's error is the request's where that was asked, and where no document came through."""
    every = [outcome for search in outcomes for outcome in search]
    errors: list[GigarankError] = [outcome.error for outcome in every if isinstance(outcome, Failure)]
    if errors and (options.on_error == "fail" or len(errors) == len(every)):
        raise errors[0]


def _answer(
    call: Call, request: RerankRequest, model: ModelState, result: Result, outcomes: Sequence[Sequence[Outcome]]
) -> RerankAnswer:
    unsorted = tuple(
        tuple(_ranked(asked, outcome, request.options) for outcome in some)
        for asked, some in zip(request.searches, outcomes, strict=True)
    )
    return RerankAnswer(
        id=f"rr-{call.request_id}",
        model=model.name,
        created=call.created,
        searches=tuple(tuple(islice(_best(ranked, request.options), request.options.top_n)) for ranked in unsorted),
        unsorted=unsorted,
        usage=result.usage,
        search_units=sum(-(-len(asked.documents) // _DOCUMENTS_A_UNIT) for asked in request.searches),
        tier=request.urgency.tier,
        warnings=tuple(_warnings(outcomes)),
        timing=result.timing,
    )


def _ranked(asked: Asked, outcome: Outcome, options: Options) -> Ranked:
    document = asked.documents[outcome.index]
    if isinstance(outcome, Score):
        score = outcome.logit if options.raw_scores else outcome.relevance_score
        return Ranked(outcome.index, score, document, outcome)
    return Ranked(outcome.index, UNSCORED_LOGIT if options.raw_scores else 0.0, document, outcome)


def _best(ranked: Sequence[Ranked], options: Options) -> Iterator[Ranked]:
    """Best first by logit, or by both stages' scores; ties as they came; without a score last, and left out where a score must
    be reached."""
    least = options.score_threshold
    for each in sorted(ranked, key=lambda one: -_place_of(one.outcome)):
        if least is None or (isinstance(each.outcome, Score) and each.outcome.relevance_score >= least):
            yield each


def _place_of(outcome: Outcome) -> float:
    return order_key(outcome) if isinstance(outcome, Score) else -math.inf


def logit_of(outcome: Outcome) -> float:
    """The logit by which results are ordered: less than any for what was not scored."""
    return outcome.logit if isinstance(outcome, Score) else -math.inf


def _warnings(outcomes: Sequence[Sequence[Outcome]]) -> Iterator[str]:
    """What the client should know of documents by their places; for the second query on, places carry the query's."""
    cut, wide, late, failed = [], [], [], []
    for search, some in enumerate(outcomes):
        for outcome in some:
            place = f"{search}:{outcome.index}" if len(outcomes) > 1 else str(outcome.index)
            if isinstance(outcome, Unscored):
                late.append(place)
            elif isinstance(outcome, Failure):
                failed.append(place)
            else:
                cut.extend([place] * outcome.truncated)
                wide.extend([place] * (outcome.window is not None))
    yield from _warning(cut, "did not fit and were read up to the tokens stated")
    yield from _warning(wide, "were read in windows, of which the best one's score counts")
    yield from _warning(late, "were not scored before the deadline and come last, with a score of 0")
    yield from _warning(failed, "could not be scored and come last, with a score of 0 and an error")


def _warning(places: Sequence[str], what: str) -> Iterator[str]:
    if places:
        named = ", ".join(places[:_NAMED]) + (", ..." if len(places) > _NAMED else "")
        yield f"documents that {what} ({len(places)}): {named}"
