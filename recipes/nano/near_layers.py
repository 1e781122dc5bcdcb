"""Which layers change least: for each count, the run of layers whose input and output are closest in angle.

    python near_layers.py CHECKPOINT rows.jsonl [--counts 3,6,10] [--pairs 64]

Read at the last token of a pair, where the answer is given, and averaged over pairs, an angle of half a turn being 1. The last
layer stays: what it gives is for the head. After Gromov et al. 2024 (arXiv:2403.17887). What it names is for `drop_layers.py`.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from gigarank import Reranker

_MOST_TOKENS = 512  # of a document


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--counts", type=lambda text: [int(one) for one in text.split(",")], default=[3, 6, 10])
    parser.add_argument("--pairs", type=int, default=64, help="the first document of so many rows")
    given = parser.parse_args(arguments)
    rows = [json.loads(line) for line in given.rows.read_text(encoding="utf-8").splitlines()[: given.pairs]]
    states = torch.stack(list(map(_Reader(given.checkpoint), rows)))
    layers = states.shape[1] - 1
    for count in given.counts:
        if not 0 < count < layers:
            raise SystemExit(f"near_layers: of {layers} layers 1 to {layers - 1} can be dropped, not {count}")
        distances = [distance(states[:, first], states[:, first + count]) for first in range(layers - count)]
        first = min(range(len(distances)), key=distances.__getitem__)
        print(f"{count} layers: {first}-{first + count - 1}, {distances[first]:.3f} (at most {max(distances):.3f})")


class _Reader:
    """A row's first document in the reranker's own prompt; the hidden state before each layer and behind the last."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Reranker.load(folder).tokenizer
        self._model = AutoModelForCausalLM.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, row: dict[str, object]) -> Tensor:
        read = self._tokenizer
        (root,), (query,) = read.roots([row.get("instruction")]), read.queries([row["query"]])  # type: ignore[list-item]
        (document,) = read.documents([row["documents"][0]])  # type: ignore[index]
        tokens = torch.tensor([root + query + document[:_MOST_TOKENS] + read.suffix_ids])
        states = self._model(tokens, output_hidden_states=True, logits_to_keep=1).hidden_states
        return torch.stack([state[0, -1] for state in states])


def distance(before: Tensor, after: Tensor) -> float:
    """The mean angle between rows of two matrices, half a turn being 1."""
    cosines = F.cosine_similarity(before.double(), after.double(), dim=-1).clamp(-1, 1)
    return float(cosines.arccos().mean()) / math.pi


if __name__ == "__main__":
    main()
