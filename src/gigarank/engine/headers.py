"""What a checkpoint's files say of it before a tensor is opened: which tensors there are, and which kind of model they make.

Knows safetensors' headers and the layouts of rerankers and embedders; loads nothing.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal

from gigarank.engine.store import Checkpoint
from gigarank.errors import CheckpointError

_MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit


def kind_of(checkpoint: Checkpoint) -> Literal["reranker", "embedder"]:
    """The catalogue's word, else the layout's (1_Pooling), else the names': an embedder's have no 'model.' before them.

    Raises CheckpointError for a file that is not safetensors.
    """
    if checkpoint.model is not None:
        return checkpoint.model.kind
    if (checkpoint.folder / "1_Pooling").is_dir():
        return "embedder"
    names = [name for file in checkpoint.folder.glob("*.safetensors") for name in tensors_of(file)]
    return "reranker" if any(name.startswith("model.") for name in names) else "embedder"


def tensors_of(file: Path) -> dict[str, tuple[str, int]]:
    """Tensors by name: dtype as safetensors writes it, and how many numbers. Source of the layout: safetensors' README.

    Raises CheckpointError.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            raw: dict[str, Any] = json.loads(opened.read(min(length, _MOST_HEADER_BYTES)))
        tensors = {name: tensor for name, tensor in raw.items() if name != "__metadata__"}
        return {name: (tensor["dtype"], math.prod(tensor["shape"])) for name, tensor in tensors.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: its header cannot be read as safetensors: {error}", param="model") from error
