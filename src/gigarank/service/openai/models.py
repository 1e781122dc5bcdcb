"""GET /v1/models and /v1/models/{id}: what this server offers, with every limit; and which model a request means.

One entry serves OpenAI's clients, OpenRouter's list of providers (names, context, modalities), vLLM's (`max_model_len`) and
Xinference's (`model_type`, `model_ability`). Invariant: a name that is listed here, or an alias, is one that requests may use.
"""

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime

from gigarank.errors import InvalidInput, UnknownModel
from gigarank.service.backend import Kind, ModelState
from gigarank.service.call import Answer, Call
from gigarank.service.offered import default_model, find_model
from gigarank.service.openai.fields import Fields
from gigarank.service.openai.questions import MAX_CHOICES, MAX_LEVELS, MAX_QUESTIONS
from gigarank.types import JsonObject

_WHAT: dict[Kind, str] = {"reranker": "rerank", "embedder": "embedding"}


async def list_models(call: Call) -> Answer:
    return Answer({"object": "list", "data": [entry(state, call) for state in call.backend.models()]})


async def show_model(call: Call) -> Answer:
    return Answer(entry(named(call.backend.models(), call.parameters["id"]), call))


def model_of(call: Call, fields: Fields, kind: Kind) -> ModelState:
    """The model that the body names, else the server's default of this kind.

    Raises UnknownModel, and InvalidInput where the named model is of the other kind.
    """
    name = fields.text("model")
    states = call.backend.models()
    if not name:
        return default_model(states, call.settings.default_model, kind)
    state = named(states, name)
    if state.kind != kind:
        fitting = [other.name for other in states if other.kind == kind]
        raise InvalidInput(
            f"model: {state.name} is of kind {state.kind}, and this endpoint needs kind {kind}",
            param="model",
            limit=", ".join(fitting) or kind,
            received=state.name,
        )
    return state


def named(states: Sequence[ModelState], name: str) -> ModelState:
    """The model of this name or alias; case matters only where two names differ in nothing else."""
    if (state := find_model(states, name)) is not None:
        return state
    known = [known for state in states for known in (state.name, *state.aliases)]
    shown = ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.4) or [state.name for state in states])
    raise UnknownModel(
        f"model: {name[:128]!r} is not served here; nearest: {shown}",
        param="model",
        limit=shown,
        received=name[:128],
    )


def entry(state: ModelState, call: Call) -> JsonObject:
    """What is known of a model, and what one request to it may hold."""
    shown: JsonObject = {
        "id": state.name,
        "object": "model",
        "created": state.created,
        "owned_by": state.repository.partition("/")[0] if "/" in state.repository else "gigarank",
        "name": state.name,
        "aliases": list(state.aliases),
        "description": state.description,
        "kind": state.kind,
        "state": state.state,
        "is_ready": state.state == "ready",
        "hugging_face_id": state.repository,
        "quantization": state.dtype,
        "scoring": _scoring(state),
        "input_modalities": ["text"],
        "max_documents": call.settings.max_documents,
        "max_body_bytes": call.settings.max_body_bytes,
        **_length(state),
        **_xinference(state),
    }
    if state.kind == "reranker":
        shown |= {"instruction": state.instruction, "max_questions": MAX_QUESTIONS}
        shown |= {"max_choices": MAX_CHOICES, "max_levels": MAX_LEVELS}
    if state.failure:
        shown["failure"] = state.failure
    if state.retires is not None:
        shown["expiration_date"] = datetime.fromtimestamp(state.retires, UTC).date().isoformat()  # OpenRouter's name for it
    return shown


def _scoring(state: ModelState) -> str:
    if state.kind == "embedder":
        return "vectors of length 1: compare them by their dot product"
    return f"relevance_score = P(yes) = sigmoid(logit), logit = logit(yes) - logit(no), of the prompt {state.prompt}"


def _length(state: ModelState) -> JsonObject:
    """The longest prompt in tokens, under the names that clients look for."""
    return dict.fromkeys(("context_length", "max_model_len", "max_tokens"), state.max_pair_tokens)


def _xinference(state: ModelState) -> JsonObject:
    """What Xinference's clients, and Dify's plugin for it, read of one model."""
    what = _WHAT[state.kind]
    return {
        "model_uid": state.name,
        "model_name": state.name,
        "model_type": what,
        "model_ability": [what if what == "rerank" else "embed"],
        "model_format": "pytorch",
    }
