"""What stands beside the weights in the official repositories, so that other libraries load a model as it is.

A reranker: modules.json and 1_LogitScore tell sentence-transformers that a causal model is one, and which words answer; the
prompt is a chat template, which, rendered, is the prompt to the byte. An embedder: modules.json, 1_Pooling (the last token) and
2_Normalize, the query's prompt, and a tokenizer that closes each text itself. Knows prompts and a tokenizer, no weights.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gigarank.errors import CheckpointError
from gigarank.prompt import EmbeddingFormat, PromptFormat

PAD, END = "<|endoftext|>", "<|im_end|>"


def write_reranker_layout(folder: Path, prompt: PromptFormat, tokenizer: Tokenizer, longest: int) -> None:
    """What transformers and sentence-transformers read beside the weights and the tokenizer."""
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "eos_token": END, "model_max_length": longest},
    )
    (folder / "chat_template.jinja").write_text(chat_template(prompt), encoding="utf-8")
    write_json(folder / "modules.json", _MODULES)
    write_json(folder / "sentence_bert_config.json", _TRANSFORMER)
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder", "prompts": {}})
    (folder / "1_LogitScore").mkdir(exist_ok=True)
    answers = {"true_token_id": tokenizer.token_to_id(prompt.yes), "false_token_id": tokenizer.token_to_id(prompt.no)}
    write_json(folder / "1_LogitScore" / "config.json", answers)


def write_embedder_layout(folder: Path, prompt: EmbeddingFormat, hidden_size: int, longest: int) -> None:
    """What transformers and sentence-transformers read beside the weights. tokenizer.json must be there already; it gets the
    post-processor that puts the closing token behind a text. Raises CheckpointError where the vocabulary lacks that token."""
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    closing = Tokenizer.from_file(str(path)).token_to_id(prompt.end)
    if closing is None:
        raise CheckpointError(f"tokenizer.json: has no {prompt.end}, which closes an embedder's texts", param="model")
    write_json(path, raw | {"post_processor": _closed_by(prompt.end, closing)})
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": prompt.end,
            "eos_token": prompt.end,
            "padding_side": "left",
            "model_max_length": longest,
        },
    )
    write_json(folder / "modules.json", _EMBEDDER_MODULES)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    asked = {"query": prompt.query(None, ""), "document": ""}
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "SentenceTransformer", "prompts": asked, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": hidden_size, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": False}
    write_json(folder / "1_Pooling" / "config.json", pooling | {"pooling_mode_lasttoken": True, "include_prompt": True})
    (folder / "2_Normalize").mkdir(exist_ok=True)


def _closed_by(token: str, token_id: int) -> dict[str, Any]:
    """A post-processor of the tokenizers library: the text, then the token."""
    special = {"SpecialToken": {"id": token, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, special],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, special, {"Sequence": {"id": "B", "type_id": 0}}, special],
        "special_tokens": {token: {"id": token, "ids": [token_id], "tokens": [token]}},
    }


def chat_template(prompt: PromptFormat) -> str:
    """The prompt as a Jinja template over the roles system (the instruction), query and document.

    Jinja drops one newline at the end of a template, so one more than the suffix has stands there.
    """
    instruction, query, document = (_role(role) for role in ("system", "query", "document"))
    instruction = f'{instruction} | default("{prompt.default_instruction}", true)'
    body = prompt.body(_hole(instruction), _hole(query), _hole(document))
    return prompt.prefix + body + prompt.suffix + "\n"


_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    {
        "idx": 1,
        "name": "1",
        "path": "1_LogitScore",
        "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
    },
]
_EMBEDDER_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
_TRANSFORMER = {
    "transformer_task": "text-generation",
    "modality_config": {
        "text": {"method": "forward", "method_output_name": "logits"},
        "message": {"method": "forward", "method_output_name": "logits", "format": "flat"},
    },
    "module_output_name": "causal_logits",
}


def _role(role: str) -> str:
    return f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'


def _hole(expression: str) -> str:
    return "{{ " + expression + " }}"


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
