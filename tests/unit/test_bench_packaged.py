"""The contestants with a reranker of their own: what they are asked, and, where their package is installed, what they answer.

The race keeps each in an environment of its own; with such an environment's interpreter, `python -m pytest
tests/unit/test_bench_packaged.py` runs what is skipped elsewhere.
"""

import importlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gigarank.bench import packaged
from gigarank.bench.checkpoint import shape_of, write_checkpoint
from gigarank.bench.gguf_file import write_gguf
from gigarank.bench.packaged import VLLM, VLLM_CONTEXT, LlamaCppPeer, Qwen3EmbedPeer, VllmPeer, logit
from gigarank.bench.peers import Contestant, Ours
from gigarank.bench.race_table import difference, same_order
from gigarank.catalogue import Shape
from gigarank.engine.layout import chat_template
from gigarank.errors import InvalidInput
from gigarank.prompt import QWEN3_V1

SHAPE = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)
UNTIED = Shape("qwen3", 64, 1, 4, 2, 32, 96, 10_000, False, 1e6, 1e-6, 4_096)
QUERY = "which planet is red"
DOCUMENTS = [f"{word} " * count for count, word in ((1, "mars"), (40, "venus"), (3, "a cake"), (12, "red"), (1, ""))] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("packaged") / "checkpoint"
    write_checkpoint(made, SHAPE, QWEN3_V1, 3)
    return made


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[float]:
    return Ours(folder, "fp32", QWEN3_V1).scores(QUERY, DOCUMENTS)


def needs(library: str) -> None:
    pytest.importorskip(library, reason=f"{library} stands in an environment of the race's own")


def agrees_in_8_bits(peer: Contestant, expected: list[float]) -> None:
    found = peer.scores(QUERY, DOCUMENTS)
    assert 1e-3 < difference(found, expected) < 0.45
    assert same_order(found, expected) > 0.9


def put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What vLLM reads of the environment, after the test."""
    for name in VLLM:
        monkeypatch.setenv(name, "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the library's own
def test_vllm_scores_as_we_do(folder: Path, expected: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    needs("vllm")
    put_back(monkeypatch)
    assert difference(VllmPeer(folder, QWEN3_V1).scores(QUERY, DOCUMENTS), expected) < 1e-3


@pytest.mark.slow
def test_llama_cpp_scores_as_we_do_in_8_bits(folder: Path, tmp_path: Path, expected: list[float]) -> None:
    needs("xllamacpp")
    peer = LlamaCppPeer(folder, QWEN3_V1, tmp_path)
    agrees_in_8_bits(peer, expected)
    assert "Q8_0, rank pooling" in peer.how and "AVX" in peer.how


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the export's own, about what torch deprecates
def test_qwen3_embed_scores_as_we_do_in_8_bits(folder: Path, tmp_path: Path, expected: list[float]) -> None:
    needs("qwen3_embed")
    agrees_in_8_bits(Qwen3EmbedPeer(folder, QWEN3_V1, tmp_path), expected)


def importing(monkeypatch: pytest.MonkeyPatch, **libraries: Any) -> None:
    """`import_module` with stand-ins for libraries that are not here."""
    real: Callable[[str], Any] = importlib.import_module
    monkeypatch.setattr(packaged, "import_module", lambda name: libraries[name] if name in libraries else real(name))


def test_vllm_gets_the_official_template_and_is_asked_for_raw_logits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    class Model:
        def __init__(self, **options: Any) -> None:
            made.update(options, space=os.environ["VLLM_CPU_KVCACHE_SPACE"])

        def reset_prefix_cache(self) -> None:
            made["forgotten"] = 0

        def score(self, query: str, documents: list[str], **options: Any) -> list[Any]:
            made.update(options, query=query, forgotten=made["forgotten"] + 1)
            return [SimpleNamespace(outputs=SimpleNamespace(score=np.float32(len(text)))) for text in documents]

    put_back(monkeypatch)
    library = SimpleNamespace(__version__="0.32.0", LLM=Model, PoolingParams=lambda use_activation: f"sigmoid {use_activation}")
    importing(monkeypatch, vllm=library)
    peer = VllmPeer(folder, QWEN3_V1)
    assert peer.scores("q", ("a", "bbb")) == peer.scores("q", ("a", "bbb")) == [1.0, 3.0]
    assert made["forgotten"] == 1  # before each request what the last one left
    assert (made["query"], made["pooling_params"], made["use_tqdm"]) == ("q", "sigmoid False", False)
    assert made["chat_template"] == chat_template(QWEN3_V1)
    assert (made["model"], made["runner"], made["dtype"], made["space"]) == (str(folder), "pooling", "float32", "2")
    assert made["max_model_len"] == VLLM_CONTEXT  # the official shapes' own length would not fit into that space
    assert made["hf_overrides"]["classifier_from_token"] == ["no", "yes"]
    assert peer.how.startswith("vllm 0.32.0, LLM.score") and "VLLM_CPU_KVCACHE_SPACE=2" in peer.how
    assert f"max_model_len={VLLM_CONTEXT}" in peer.how


class Server:
    """A stand-in for llama.cpp's: probabilities by length, in an order of its own."""

    asked: Any = None
    answer: dict[str, Any] | None = None

    def __init__(self, asked: Any) -> None:
        Server.asked = asked

    def handle_rerank(self, request: dict[str, Any]) -> dict[str, Any]:
        if Server.answer is not None:
            return Server.answer
        scored = [{"index": place, "relevance_score": len(text) / 10} for place, text in enumerate(request["documents"])]
        return {"results": sorted(scored, key=lambda one: -float(one["relevance_score"]))}


@pytest.fixture
def llama(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LlamaCppPeer:
    def params() -> SimpleNamespace:
        return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

    monkeypatch.setattr(Server, "answer", None)
    library = SimpleNamespace(
        __version__="9.9",
        CommonParams=params,
        Server=Server,
        llama_pooling_type=SimpleNamespace(LLAMA_POOLING_TYPE_RANK="rank"),
        get_system_info=lambda: "CPU : AVX = 1 | AVX512 = 0 | FMA = 1 | ",
    )
    importing(monkeypatch, xllamacpp=library)
    return LlamaCppPeer(folder, QWEN3_V1, tmp_path)


def test_llama_cpp_answers_in_the_order_of_the_documents(llama: LlamaCppPeer, tmp_path: Path) -> None:
    assert llama.scores("q", ["a", "bbbbb", "ccc"]) == pytest.approx([math.log(1 / 9), 0.0, math.log(3 / 7)])
    asked = Server.asked
    assert Path(asked.model.path).parent == tmp_path and Path(asked.model.path).is_file()
    assert (asked.embedding, asked.pooling_type, asked.cache_ram_mib) == (True, "rank", 0)
    assert asked.cpuparams.n_threads == asked.cpuparams_batch.n_threads == torch.get_num_threads()
    assert llama.how.endswith("2048 rows; built with CPU : AVX, FMA")


def test_what_llama_cpp_refuses_is_told(llama: LlamaCppPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "answer", {"error": "input is too large"})
    with pytest.raises(RuntimeError, match=r"llama\.cpp's server: .*input is too large"):
        llama.scores("q", ["a"])


def test_qwen3_embed_reads_a_folder_of_its_layout(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    def encoder(model: str, **options: Any) -> SimpleNamespace:
        made.update(options, model=model)
        return SimpleNamespace(rerank=lambda query, texts, instruction: iter([0.5, float(instruction == made["wanted"])]))

    def write_int8(scored: torch.nn.Module, file: Path, products: int) -> None:
        ids, mask = torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.long)
        made.update(file=file, products=products, answers=scored(ids, mask))

    importing(monkeypatch, qwen3_embed=SimpleNamespace(__version__="1.14.0", TextCrossEncoder=encoder))
    monkeypatch.setattr(packaged, "write_int8", write_int8)
    made["wanted"] = QWEN3_V1.default_instruction
    peer = Qwen3EmbedPeer(folder, QWEN3_V1, tmp_path)
    assert peer.scores("q", ["a", "b"]) == [0.0, math.inf]
    assert made["file"] == tmp_path / "onnx" / "model_yesno_quantized.onnx"
    assert (made["products"], made["specific_model_path"]) == (14, str(tmp_path))
    assert made["model"].endswith("-ONNX-YesNo") and made["answers"].shape == (1, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "tokenizer.json", "tokenizer_config.json", "onnx"}


def test_a_probability_is_turned_back() -> None:
    assert logit(1 / (1 + math.exp(-2.5))) == pytest.approx(2.5)
    assert (logit(0.0), logit(0.5), logit(1.0)) == (-math.inf, 0.0, math.inf)


class TestTheGgufFile:
    @pytest.mark.parametrize("shape", [SHAPE, UNTIED])
    def test_it_has_the_layers_in_q8_0_and_the_answers_in_fp32(self, tmp_path: Path, shape: Shape) -> None:
        tokenizer = write_checkpoint(tmp_path / "c", shape, QWEN3_V1, 3)
        write_gguf(tmp_path / "c", QWEN3_V1, tmp_path / "m.gguf")
        found = {one.name: one for one in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
        assert len(found) == 11 * shape.num_hidden_layers + 3  # the table, the last norm, the answers
        kept = load_file(tmp_path / "c" / "model.safetensors")
        head = kept["model.embed_tokens.weight" if shape.tie_word_embeddings else "lm_head.weight"].float()
        answers = head[[tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")]]
        assert torch.equal(torch.tensor(np.array(found["cls.output.weight"].data)), answers)
        gate = found["blk.0.ffn_gate.weight"]
        assert gate.tensor_type == gguf.GGMLQuantizationType.Q8_0
        whole = kept["model.layers.0.mlp.gate_proj.weight"].float().numpy()
        assert 0 < np.abs(gguf.dequantize(gate.data, gate.tensor_type) - whole).max() < np.abs(whole).max() / 100
        assert found["blk.0.attn_q_norm.weight"].tensor_type == gguf.GGMLQuantizationType.F32

    def test_it_says_what_llama_cpp_needs_to_rank(self, folder: Path, tmp_path: Path) -> None:
        write_gguf(folder, QWEN3_V1, tmp_path / "m.gguf")
        fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
        told = {name: field.contents() for name, field in fields.items()}
        assert told["qwen3.pooling_type"] == gguf.PoolingType.RANK
        assert told["qwen3.classifier.output_labels"] == ["yes", "no"]
        assert told["tokenizer.chat_template.rerank"] == QWEN3_V1.render(None, "{query}", "{document}")
        assert (told["tokenizer.ggml.pre"], told["tokenizer.ggml.add_bos_token"]) == ("qwen2", False)
        tokens, kinds = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
        assert len(tokens) == len(kinds) == SHAPE.vocab_size
        places = {token: place for place, token in enumerate(tokens)}
        assert kinds[places["<|im_end|>"]] == gguf.TokenType.CONTROL and kinds[places["yes"]] == gguf.TokenType.NORMAL
        assert kinds[places["<think>"]] == gguf.TokenType.USER_DEFINED
        assert told["tokenizer.ggml.eos_token_id"] == places["<|im_end|>"]
        assert told["qwen3.attention.key_length"] == 32 and told["qwen3.rope.freq_base"] == 1e6

    def test_another_kind_of_model_is_refused(self, tmp_path: Path) -> None:
        shape, prompt = shape_of("nano", 1)
        write_checkpoint(tmp_path / "c", shape, prompt)
        with pytest.raises(InvalidInput, match=r"model_type: llama\.cpp reranks with qwen3 alone, not llama"):
            write_gguf(tmp_path / "c", prompt, tmp_path / "m.gguf")
        assert not (tmp_path / "m.gguf").exists()
