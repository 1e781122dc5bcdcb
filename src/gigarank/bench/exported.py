"""The contestants that run an exported graph in fp32, ONNX Runtime and OpenVINO, and what their 8-bit kin share with them.

The graph is transformers' decoder and the two answer words' difference, so that no runtime computes a vocabulary of logits.
Both read the token ids that our tokenizer makes. Knows no clock. Invariant: scores are logit(yes) - logit(no), in the order
of the documents.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gigarank.engine.loading import read_config
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.prompt import PromptFormat

BATCH = 8
Graph = Callable[[np.ndarray, np.ndarray], Sequence[float]]
"""Takes ids and mask, both (pairs, tokens), padded at the right."""


class Scored(torch.nn.Module):
    """ids and mask (pairs, tokens) to scores (pairs,)."""

    def __init__(self, model: Any, yes: int, no: int) -> None:
        super().__init__()
        self.decoder = model.model
        self.answer = torch.nn.Parameter((model.lm_head.weight[yes] - model.lm_head.weight[no]).detach().clone())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.decoder(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        hidden = found.last_hidden_state  # (pairs, tokens, hidden_size)
        last = attention_mask.sum(-1) - 1
        scores: Tensor = hidden[torch.arange(hidden.shape[0]), last] @ self.answer
        return scores


def exportable(folder: Path, tokens: PromptTokenizer, ending: type[Scored] = Scored) -> tuple[torch.nn.Module, str]:
    """transformers' model up to its scores, and how it is called."""
    transformers = import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    scored = ending(model.eval(), tokens.yes_id, tokens.no_id).eval()
    return scored, f"a graph exported from transformers {transformers.__version__}"


class _Exported(ABC):
    """What both share: whole prompts as ids, sorted by length, in batches."""

    name, precision = "exported", "fp32"

    def __init__(self, folder: Path, prompt: PromptFormat) -> None:
        longest = read_config(folder).max_position_embeddings
        self.tokenizer = PromptTokenizer(TextTokenizer.from_folder(folder), prompt, longest)
        scored, exported = exportable(folder, self.tokenizer)
        with torch.no_grad():
            self.graph, runtime = self.load(scored)
        self.how = f"{runtime}, {exported}, {self.precision}, by length, batch {BATCH}"

    @abstractmethod
    def load(self, scored: torch.nn.Module) -> tuple[Graph, str]:
        """The graph in its runtime, and the runtime's name with its version."""

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        prompts = self.prompts(query, documents)
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        found = [0.0] * len(prompts)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            ids, mask = padded([prompts[place] for place in places])
            for place, score in zip(places, self.graph(ids, mask), strict=True):
                found[place] = float(score)
        return found

    def prompts(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        tokens = self.tokenizer
        (root,), (asked,) = tokens.roots([None]), tokens.queries([query])
        return [[*root, *asked, *ids, *tokens.suffix_ids] for ids in tokens.documents(documents)]


class OnnxRuntimePeer(_Exported):
    """ONNX Runtime's CPU provider, all graph optimisations."""

    name = "onnxruntime"

    def __init__(self, folder: Path, prompt: PromptFormat, place: Path) -> None:
        self._file = place / "model.onnx"
        super().__init__(folder, prompt)

    def load(self, scored: torch.nn.Module) -> tuple[Graph, str]:
        runtime = import_module("onnxruntime")
        file = self.written(scored)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would run into the others' turns
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        def graph(ids: np.ndarray, mask: np.ndarray) -> Sequence[float]:
            (scores,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
            return list(scores)

        return graph, f"onnxruntime {runtime.__version__}, CPUExecutionProvider"

    def written(self, scored: torch.nn.Module) -> Path:
        """The file of the graph that is run."""
        export_onnx(scored, self._file)
        return self._file


class OpenVinoPeer(_Exported):
    """OpenVINO's CPU plugin, held to fp32."""

    name = "openvino"
    hints: ClassVar[dict[str, str]] = {"INFERENCE_PRECISION_HINT": "f32"}

    def load(self, scored: torch.nn.Module) -> tuple[Graph, str]:
        runtime = import_module("openvino")
        hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"} | self.hints
        compiled = runtime.Core().compile_model(self.converted(scored), "CPU", hints)

        def graph(ids: np.ndarray, mask: np.ndarray) -> Sequence[float]:
            return list(compiled([ids, mask])[0])

        return graph, f"openvino {runtime.__version__.split('-')[0]}, CPU, latency hint"

    def converted(self, scored: torch.nn.Module) -> Any:
        """The model that is compiled."""
        ids, mask = _example()
        return import_module("openvino").convert_model(scored, example_input={"input_ids": ids, "attention_mask": mask})


def export_onnx(scored: torch.nn.Module, file: Path) -> None:
    """Writes the graph, its weights beside it: it may have more than protobuf's 2 GB."""
    sizes = {0: torch.export.Dim("pairs", min=1, max=1_024), 1: torch.export.Dim("tokens", min=2, max=32_768)}
    program = torch.onnx.export(
        scored,
        _example(),
        dynamo=True,
        dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
        input_names=["input_ids", "attention_mask"],
        output_names=["scores"],
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    program.save(str(file), external_data=True)


def padded(prompts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask (pairs, tokens), the longest prompt wide, padded with 0 at the right: at the left there would be rows that
    may read nothing, and OpenVINO makes NaN of those."""
    longest = max(len(prompt) for prompt in prompts)
    ids = np.zeros((len(prompts), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
        mask[row, : len(prompt)] = 1
    return ids, mask


def _example() -> tuple[Tensor, Tensor]:
    """Two pairs of unlike lengths, so that tracing sees padding."""
    ids, mask = padded([list(range(1, 21)), list(range(1, 14))])
    return torch.from_numpy(ids), torch.from_numpy(mask)
