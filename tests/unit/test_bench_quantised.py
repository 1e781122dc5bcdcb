"""The contestants in 8 bits: torch's own runs wherever transformers is, the others where their packages are.

The race keeps ONNX Runtime and OpenVINO in environments of their own; with such an environment's interpreter, `python -m pytest
tests/unit/test_bench_quantised.py` runs what is skipped elsewhere.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gigarank.bench import exported, quantised, race_peer
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.bench.exported import OnnxRuntimePeer, OpenVinoPeer
from gigarank.bench.peers import Contestant, Ours, TransformersCard
from gigarank.bench.quantised import OnnxRuntimeInt8, OpenVinoInt8, TransformersInt8, quantise_onnx, weighted
from gigarank.bench.race_table import difference, same_order
from gigarank.catalogue import Shape
from gigarank.prompt import QWEN3_V1

SHAPE = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)
QUERY = "which planet is red"
DOCUMENTS = [f"{word} " * count for count, word in ((1, "mars"), (40, "venus"), (3, "a cake"), (12, "red"), (1, ""))] * 2
TOLERANCE = 0.9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("quantised") / "checkpoint"
    write_checkpoint(made, SHAPE, QWEN3_V1, 3)
    return made


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[float]:
    return Ours(folder, "fp32", QWEN3_V1).scores(QUERY, DOCUMENTS)


def agrees_in_8_bits(peer: Contestant, expected: list[float]) -> None:
    """Near the reference, and not so near that nothing was rounded."""
    found = peer.scores(QUERY, DOCUMENTS)
    assert 1e-3 < difference(found, expected) < TOLERANCE / 2
    assert same_order(found, expected) > 0.9
    assert max(expected) - min(expected) > 2 * TOLERANCE  # so that agreement means something


def needs(*libraries: str) -> None:
    for library in libraries:
        pytest.importorskip(library, reason=f"{library} stands in an environment of the race's own")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")  # torch says so once a process
def test_torch_quantises_every_linear_layer(folder: Path, expected: list[float]) -> None:
    peer = TransformersInt8(folder, QWEN3_V1)
    agrees_in_8_bits(peer, expected)
    kinds = [type(module).__module__ for module in peer.model.modules() if type(module).__name__ == "Linear"]
    assert len(kinds) == quantised.PRODUCTS * SHAPE.num_hidden_layers + 1  # and the head
    assert all("quantized.dynamic" in kind for kind in kinds)
    assert peer.how.endswith("int8 by torch.ao.quantization.quantize_dynamic, engine x86, weights by channel")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the tools' own, about what torch deprecates
def test_onnx_runtime_in_fp32_and_in_8_bits(folder: Path, tmp_path: Path, expected: list[float]) -> None:
    needs("onnxruntime", "onnx", "onnxscript")
    whole = OnnxRuntimePeer(folder, QWEN3_V1, tmp_path)
    assert difference(whole.scores(QUERY, DOCUMENTS), expected) < 1e-3
    small = tmp_path / "small"
    small.mkdir()
    peer = OnnxRuntimeInt8(folder, QWEN3_V1, small)
    agrees_in_8_bits(peer, expected)
    assert {path.name for path in small.iterdir()} == {"model.onnx", "model.onnx.data"}  # the whole graph is gone
    assert ", int8 by quantize_dynamic, weights by channel, by length, batch 8" in peer.how


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the tools' own, about what torch deprecates
def test_openvino_in_fp32_and_in_8_bits(folder: Path, expected: list[float]) -> None:
    needs("openvino", "nncf")
    assert difference(OpenVinoPeer(folder, QWEN3_V1).scores(QUERY, DOCUMENTS), expected) < 1e-3
    peer = OpenVinoInt8(folder, QWEN3_V1)
    agrees_in_8_bits(peer, expected)
    assert ", int8 weights by nncf, the plugin's own precision, " in peer.how


def tensor(name: str, *dims: int) -> SimpleNamespace:
    return SimpleNamespace(name=name, dims=dims)


def node(kind: str, name: str, *inputs: str) -> SimpleNamespace:
    return SimpleNamespace(op_type=kind, name=name, input=inputs)


GRAPH = SimpleNamespace(
    initializer=[tensor("w", 8, 16), tensor("angles", 1, 16, 1), tensor("row", 1, 8)],
    node=[
        node("MatMul", "gate", "x", "w"),
        node("Gemm", "up", "x", "w"),
        node("MatMul", "rotary", "angles", "x"),
        node("MatMul", "attention", "q", "k"),
        node("MatMul", "answer", "x", "row"),
        node("Add", "sum", "x", "w"),
    ],
)


def test_only_products_with_a_matrix_of_weights_are_quantised() -> None:
    assert weighted(GRAPH) == ["gate", "up"]


def importing(monkeypatch: pytest.MonkeyPatch, **libraries: Any) -> None:
    """`import_module` with stand-ins for libraries that are not here."""
    real: Callable[[str], Any] = importlib.import_module
    for module in (exported, quantised):
        monkeypatch.setattr(module, "import_module", lambda name: libraries[name] if name in libraries else real(name))


def onnx(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A stand-in for ONNX Runtime's tools on GRAPH; what it was asked."""
    asked: list[Any] = []

    def pre_process(source: str, target: str, **options: Any) -> None:
        asked.append((source, options))
        Path(target).write_text("folded")

    def dynamic(source: str, target: str, **options: Any) -> None:
        asked.append((Path(source).read_text(), options))
        Path(target).write_text("in 8 bits")

    importing(
        monkeypatch,
        **{
            "onnxruntime.quantization": SimpleNamespace(quantize_dynamic=dynamic, QuantType=SimpleNamespace(QInt8="signed")),
            "onnxruntime.quantization.shape_inference": SimpleNamespace(quant_pre_process=pre_process),
            "onnx": SimpleNamespace(load=lambda path, load_external_data: SimpleNamespace(graph=GRAPH)),
        },
    )
    return asked


def test_the_graph_is_folded_and_then_quantised_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = onnx(monkeypatch)
    quantise_onnx(tmp_path / "whole.onnx", tmp_path / "model.onnx", products=2)
    assert (tmp_path / "model.onnx").read_text() == "in 8 bits"
    (source, first), (folded, second) = asked
    assert source == str(tmp_path / "whole.onnx") and first["save_as_external_data"] is True
    assert folded == "folded" and second["nodes_to_quantize"] == ["gate", "up"]
    assert second["per_channel"] is True and second["weight_type"] == "signed"


def test_a_product_whose_weights_are_not_found_is_no_race_in_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = onnx(monkeypatch)
    with pytest.raises(RuntimeError, match="quantize_dynamic finds the weights of 2 products, of 14"):
        quantise_onnx(tmp_path / "whole.onnx", tmp_path / "model.onnx", products=14)
    assert len(asked) == 1 and not (tmp_path / "model.onnx").exists()


def test_openvino_in_8_bits_is_free_to_choose_its_precision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Core:
        def compile_model(self, model: Any, device: str, hints: dict[str, Any]) -> Any:
            asked.extend([model, hints])
            return lambda both: [[1.5]]

    library = SimpleNamespace(__version__="2026.9.9-1", Core=Core, convert_model=lambda model, example_input: "whole")
    importing(monkeypatch, openvino=library, nncf=SimpleNamespace(compress_weights=lambda model: f"{model}, compressed"))
    assert OpenVinoInt8(folder, QWEN3_V1).scores(QUERY, ["mars"]) == [1.5]
    assert asked[0] == "whole, compressed"
    assert asked[1] == {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}


@pytest.mark.parametrize(("name", "kind"), [("transformers-int8", TransformersInt8), ("transformers", TransformersCard)])
def test_the_peers_process_finds_them_by_name(folder: Path, tmp_path: Path, name: str, kind: type) -> None:
    assert type(race_peer.contestant(name, folder, tmp_path)) is kind
