"""POST /v1/chat/completions: messages in, the word yes or no out.

Messages are written as ChatML turns and closed as the model's prompt format closes them, with its think block. The model
card's system message and its `<Instruct>`, `<Query>`, `<Document>` user message so become the canonical prompt, id by id; the
roles `query` and `document` (and `system` for the instruction) of its hub template give the same. Invariant: what a message
says is encoded as plain text, and cannot close its turn.
"""

from gigarank.engine.work import Turns
from gigarank.errors import InvalidInput
from gigarank.prompt import PromptFormat, prompt_format
from gigarank.service.backend import Answered
from gigarank.service.call import Answer, Call
from gigarank.service.openai.answers import MAX_LOGPROBS, Word, answer_prompts, completed, refuse_unsupported, words
from gigarank.service.openai.fields import Fields, as_fields
from gigarank.service.openai.messages import content_text
from gigarank.service.openai.models import model_of
from gigarank.service.openai.urgency import urgency_of
from gigarank.types import JsonObject

MAX_MESSAGES = 10_000
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles of a chat, and how ChatML writes them."""
TEMPLATE_ROLES = ("query", "document")
"""The roles of the rerankers' hub template; a system message beside them is the instruction."""


async def create_chat_completion(call: Call) -> Answer:
    fields = as_fields(call.body, "")
    refuse_unsupported(fields)
    top = fields.integer("top_logprobs", 0, MAX_LOGPROBS)
    wanted = bool(fields.flag("logprobs")) or bool(top)
    messages = read_messages(fields)
    model = model_of(call, fields, "reranker")
    answers = await answer_prompts(call, fields, model, [write(messages, prompt_format(model.prompt))])
    body = {
        "id": f"chatcmpl-{call.request_id}",
        "object": "chat.completion",
        "created": call.created,
        "choices": [_choice(answers[0], wanted)],
    }
    return completed(body, model, answers, urgency_of(call, fields).tier)


def read_messages(fields: Fields) -> list[tuple[str, str]]:
    """Role and text of each message."""
    messages = []
    for message in fields.objects("messages", 1, MAX_MESSAGES):
        message.given("role")
        role = message.choice("role", (*ROLES, *TEMPLATE_ROLES)) or ""
        if message.value("tool_calls"):
            place = message.at("tool_calls")
            raise InvalidInput(f"{place}: calls of tools cannot be written into this prompt", param=place)
        messages.append((role, content_text(message.given("content"), message.at("content"))))
    return messages


def write(messages: list[tuple[str, str]], prompt: PromptFormat) -> Turns:
    """The prompt of these messages, in pieces."""
    if any(role in TEMPLATE_ROLES for role, _ in messages):
        return _card(dict(_once(messages)), prompt)
    pieces: list[tuple[str, bool]] = []
    closing = ""
    for role, text in messages:
        pieces += [(f"{closing}<|im_start|>{ROLES[role]}\n", True), (text, False)]
        closing = "<|im_end|>\n"
    return Turns((*pieces, (prompt.suffix, True)))


def _card(parts: dict[str, str], prompt: PromptFormat) -> Turns:
    missing = [role for role in TEMPLATE_ROLES if role not in parts]
    if missing or "user" in parts or "assistant" in parts:
        raise InvalidInput(
            "messages: the roles query and document stand together, with at most a system message beside them",
            param="messages",
            limit=", ".join(("system", *TEMPLATE_ROLES)),
            received=", ".join(parts),
        )
    body = prompt.body(parts.get("system"), parts["query"], parts["document"])
    return Turns(((prompt.prefix, True), (body, False), (prompt.suffix, True)))


def _once(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The messages with `developer` as `system`; raises InvalidInput where a role stands twice."""
    unified = [(ROLES.get(role, role), text) for role, text in messages]
    roles = [role for role, _ in unified]
    for index, role in enumerate(roles):
        if role in roles[:index]:
            place = f"messages[{index}].role"
            raise InvalidInput(f"{place}: {role} stands there twice", param=place, limit=1, received=2)
    return unified


def _choice(answered: Answered, wanted: bool) -> JsonObject:
    both = words(answered)
    said = {**_shown(both[0]), "top_logprobs": [_shown(word) for word in both]}
    return {
        "index": 0,
        "message": {"role": "assistant", "content": both[0].text, "refusal": None},
        "finish_reason": "stop",
        "logprobs": {"content": [said], "refusal": None} if wanted else None,
    }


def _shown(word: Word) -> JsonObject:
    return {"token": word.text, "logprob": word.logprob, "bytes": list(word.text.encode())}
