"""The contestants in 8 bits, each as its own library quantises: ONNX Runtime, OpenVINO with nncf, and torch under transformers.

They quantise the same folder of weights as they load, without calibration. Knows no clock. Invariant: a contestant that says
int8 multiplies in 8 bits what the decoder's layers multiply; one whose tools left a product as it was does not load.
"""

import warnings
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch

from gigarank.bench.exported import OnnxRuntimePeer, OpenVinoPeer, export_onnx
from gigarank.bench.peers import TransformersCard
from gigarank.engine.loading import read_config
from gigarank.prompt import PromptFormat

PRODUCTS = 7
"""Of a layer: query, key, value, output, gate, up and down."""


class OnnxRuntimeInt8(OnnxRuntimePeer):
    """ONNX Runtime's dynamic quantisation: signed weights by column, unsigned activations by tensor."""

    name, precision = "onnxruntime-int8", "int8 by quantize_dynamic, weights by channel"

    def __init__(self, folder: Path, prompt: PromptFormat, place: Path) -> None:
        self._products = PRODUCTS * read_config(folder).num_hidden_layers
        super().__init__(folder, prompt, place)

    def written(self, scored: torch.nn.Module) -> Path:
        write_int8(scored, self._file, self._products)
        return self._file


def write_int8(scored: torch.nn.Module, file: Path, products: int) -> None:
    """The exported graph in 8 bits; the whole one is beside it while it is made. Raises RuntimeError."""
    with TemporaryDirectory(dir=file.parent) as folder:
        whole = Path(folder) / "whole.onnx"
        export_onnx(scored, whole)
        quantise_onnx(whole, file, products)


def quantise_onnx(whole: Path, file: Path, products: int) -> None:
    """The graph of `whole` in 8 bits. Raises RuntimeError where fewer than `products` are quantised."""
    quantization, shapes = import_module("onnxruntime.quantization"), import_module("onnxruntime.quantization.shape_inference")
    folded = whole.with_name("folded.onnx")  # weights that the export turns at run time are turned here
    shapes.quant_pre_process(str(whole), str(folded), skip_symbolic_shape=True, save_as_external_data=True)
    names = weighted(import_module("onnx").load(str(folded), load_external_data=False).graph)
    if len(names) < products:
        raise RuntimeError(f"quantize_dynamic finds the weights of {len(names)} products, of {products}")
    options = {"nodes_to_quantize": names, "per_channel": True, "use_external_data_format": True}
    quantization.quantize_dynamic(str(folded), str(file), weight_type=quantization.QuantType.QInt8, **options)


def weighted(graph: Any) -> list[str]:
    """The products with a matrix of weights: the others, of attention and of the rotary table, have none."""
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2 and min(tensor.dims) > 1}
    return [node.name for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in matrices]


class OpenVinoInt8(OpenVinoPeer):
    """OpenVINO on weights that nncf compressed to 8 bits; activations as the CPU plugin chooses, 8 bits or bf16."""

    name, precision = "openvino-int8", "int8 weights by nncf, the plugin's own precision"
    hints: ClassVar[dict[str, str]] = {}

    def converted(self, scored: torch.nn.Module) -> Any:
        return import_module("nncf").compress_weights(super().converted(scored))


class TransformersInt8(TransformersCard):
    """The model card's code with torch's dynamic quantisation of every linear layer: weights by channel."""

    name = "transformers-int8"

    def __init__(self, folder: Path, prompt: PromptFormat) -> None:
        super().__init__(folder, "fp32", prompt)
        quantization = import_module("torch.ao.quantization")
        torch.backends.quantized.engine = ENGINE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch means to move it; it is what torch itself still has
            how = {torch.nn.Linear: quantization.per_channel_dynamic_qconfig}
            self.model = quantization.quantize_dynamic(self.model, how, inplace=True)
        self.how += f", int8 by torch.ao.quantization.quantize_dynamic, engine {ENGINE}, weights by channel"


ENGINE = "x86"
"""torch's choice on x86."""
