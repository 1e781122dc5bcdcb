"""What a client may ask before it ranks: TEI's /info, and the presets of instructions. Knows no dialect of reranking."""

from importlib.metadata import version

from gigarank.service.call import Answer, Call, Route
from gigarank.service.rerank.presets import MARK, PRESETS
from gigarank.service.rerank.schemas import NUMBER, TEXT, WHOLE, array, nested
from gigarank.service.rerank.service import find_model


async def tei_info(call: Call) -> Answer:
    """The default reranker as TEI describes one; its clients send at most `max_client_batch_size` texts a request."""
    model = find_model(call, None)
    body = {
        "model_id": model.repository or model.name,
        "model_sha": None,
        "model_dtype": model.dtype,
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": call.settings.max_waiting_requests,
        "max_input_length": model.max_pair_tokens,
        "max_batch_tokens": model.max_pair_tokens,
        "max_client_batch_size": call.settings.max_documents,
        "auto_truncate": True,
        "version": version("gigarank"),
    }
    return Answer(body, model.name)


async def instructions(_call: Call) -> Answer:
    data = [
        {"name": one.name, "use": MARK + one.name, "instruction": one.instruction, "source": one.source}
        for one in PRESETS.values()
    ]
    return Answer({"object": "list", "data": data})


_INFO = nested(
    {"model_id": TEXT, "model_type": nested({"reranker": {"type": "object"}}), "max_input_length": WHOLE},
    {"max_client_batch_size": WHOLE, "max_batch_tokens": NUMBER, "version": TEXT},
)
_PRESET = nested({"name": TEXT, "use": TEXT, "instruction": TEXT, "source": TEXT})
_ABOUT = "The default reranker, as TEI describes it"
ROUTES = (
    Route("GET", "/info", tei_info, _ABOUT, "rerank", None, _INFO, "tei"),
    Route("GET", "/tei/info", tei_info, _ABOUT, "rerank", None, _INFO, "tei", listed=False),
    Route(
        "GET",
        "/v1/instructions",
        instructions,
        "Instructions by name",
        "rerank",
        None,
        nested({"object": TEXT, "data": array(_PRESET)}),
    ),
)
