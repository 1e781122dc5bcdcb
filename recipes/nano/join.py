"""Two LoRA adapters as one: the second was trained on the merge of the first into their base.

    python join.py FIRST SECOND [--rank N] --output FOLDER

W + s1·B1·A1 + s2·B2·A2 is one product of the sum of both ranks: A1 on A2, and s1·B1 beside s2·B2, with a scale of 1. A lower
rank gives the nearest product of that rank, by singular values, module by module. Written in bf16. Both must be plain LoRA of
the same modules, with one rank and scale each.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gigarank.engine.json_file import read_json
from gigarank.model.adapter import AdapterConfig, parse_adapter

_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--rank", type=int, help="of the result; the sum of both unless given")
    parser.add_argument("--output", type=Path, required=True, help="a folder that is not there")
    given = parser.parse_args(arguments)
    raw = [dict(read_json(folder / "adapter_config.json", "adapter")) for folder in (given.first, given.second)]
    first, second = (parse_adapter(one) for one in raw)
    for config in (first, second):
        if config.dora or config.rank_pattern or config.alpha_pattern:
            raise SystemExit("join: only plain LoRA of one rank and scale is joined")
    tensors, whole = joined((load(given.first), first), (load(given.second), second)), first.rank + second.rank
    rank = whole if given.rank is None else given.rank
    if not 1 <= rank <= whole:
        raise SystemExit(f"join: --rank must be 1 to {whole}, the sum of both, not {rank}")
    tensors = tensors if rank == whole else cut(tensors, rank)
    given.output.mkdir(parents=True)
    written = {key: tensor.bfloat16() for key, tensor in tensors.items()}
    save_file(written, given.output / "adapter_model.safetensors", metadata={"format": "pt"})
    config = raw[0] | {"r": rank, "lora_alpha": float(rank), "use_rslora": False}
    (given.output / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    (given.output / "gigarank.json").write_bytes((given.first / "gigarank.json").read_bytes())


def load(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def joined(*adapters: tuple[dict[str, Tensor], AdapterConfig]) -> dict[str, Tensor]:
    """Tensors by peft's names: A is (rank, in), B is (out, rank)."""
    (first, _), (second, _) = adapters
    if first.keys() != second.keys():
        raise SystemExit(f"join: not of the same modules: {sorted(first.keys() ^ second.keys())[0]}")
    found = {}
    for name in first:
        down = name.endswith(_DOWN)
        parts = [tensors[name].float() * (1.0 if down else config.scale_of(name)) for tensors, config in adapters]
        found[name] = torch.cat(parts, dim=0 if down else 1)
    return found


def cut(tensors: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """The nearest products of this rank. Their singular values are those of two small triangles, so that none is formed."""
    found = {}
    for name in (one for one in tensors if one.endswith(_DOWN)):
        other = name.removesuffix(_DOWN) + _UP
        up, right = torch.linalg.qr(tensors[other].double())
        down, left = torch.linalg.qr(tensors[name].double().T)
        outer, values, inner = torch.linalg.svd(right @ left.T)
        root = values[:rank].sqrt()
        found[other] = (up @ outer[:, :rank] * root).float()
        found[name] = (root[:, None] * (inner[:rank] @ down.T)).float()
    return found


if __name__ == "__main__":
    main()
