"""POST /v1/completions: raw prompts in, the word yes or no out.

A prompt is read as it is, special tokens included: whoever writes one writes the whole template. To rank what users wrote,
use /v1/rerank or /v1/chat/completions, where their text cannot close a turn.
"""

from typing import Any

from gigarank.engine.work import Prompt
from gigarank.errors import InvalidInput
from gigarank.service.backend import Answered
from gigarank.service.call import Answer, Call
from gigarank.service.openai.answers import MAX_LOGPROBS, answer_prompts, completed, refuse_unsupported, words
from gigarank.service.openai.fields import Fields, as_fields, check_size, wrong_type
from gigarank.service.openai.models import model_of
from gigarank.service.openai.urgency import urgency_of
from gigarank.service.settings import Settings
from gigarank.types import JsonObject

MAX_TOKEN_ID = 2**31 - 1


async def create_completion(call: Call) -> Answer:
    fields = as_fields(call.body, "")
    refuse_unsupported(fields)
    wanted = fields.integer("logprobs", 0, MAX_LOGPROBS) is not None
    prompts = read_prompts(fields, call.settings)
    model = model_of(call, fields, "reranker")
    answers = await answer_prompts(call, fields, model, prompts)
    choices = [_choice(index, answered, wanted) for index, answered in enumerate(answers)]
    body = {"id": f"cmpl-{call.request_id}", "object": "text_completion", "created": call.created, "choices": choices}
    return completed(body, model, answers, urgency_of(call, fields).tier)


def read_prompts(fields: Fields, settings: Settings) -> list[Prompt]:
    """A text, texts, token ids, or lists of token ids."""
    given = fields.given("prompt")
    if isinstance(given, str):
        return [_text(given, "prompt")]
    if not isinstance(given, list):
        raise wrong_type("prompt", "string, list of strings or token ids", given)
    if not given:
        raise InvalidInput("prompt: must not be empty", param="prompt", limit=1, received=0)
    single = _is_id(given[0])
    if not single:
        check_size("prompt", "prompts", len(given), settings.max_documents)
    ids = len(given) if single else sum(len(one) for one in given if isinstance(one, list))
    check_size("prompt", "token ids", ids, settings.max_waiting_tokens)
    if single:
        return [_ids(given, "prompt")]
    return [_prompt(one, f"prompt[{index}]") for index, one in enumerate(given)]


def _prompt(value: Any, place: str) -> Prompt:
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, list):
        return _ids(value, place)
    raise wrong_type(place, "string or list of token ids", value)


def _text(text: str, place: str) -> str:
    if not text:
        raise InvalidInput(f"{place}: must not be empty", param=place, limit=1, received=0)
    return text


def _ids(values: list[Any], place: str) -> list[int]:
    if not values:
        raise InvalidInput(f"{place}: must not be empty", param=place, limit=1, received=0)
    for index, value in enumerate(values):
        if not _is_id(value):
            raise wrong_type(f"{place}[{index}]", "token id", value)
        if not 0 <= value <= MAX_TOKEN_ID:
            raise InvalidInput(f"{place}[{index}]: is no token id", param=f"{place}[{index}]", limit=MAX_TOKEN_ID)
    return values


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _choice(index: int, answered: Answered, wanted: bool) -> JsonObject:
    both = words(answered)
    said = {
        "tokens": [both[0].text],
        "token_logprobs": [both[0].logprob],
        "top_logprobs": [{word.text: word.logprob for word in both}],
        "text_offset": [0],
    }
    return {"index": index, "text": both[0].text, "finish_reason": "stop", "logprobs": said if wanted else None}
