"""What stands beside the weights of a reranker in the official repositories, so that other libraries load it as it is.

modules.json and 1_LogitScore tell sentence-transformers that a causal model is a reranker, and which words answer; the prompt
is a chat template. Knows the prompt and a tokenizer, no weights. Invariant: the template, rendered, is the prompt to the byte.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gigarank.prompt import PromptFormat

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
