"""A checkpoint without some of its layers: how many does it need?

    python drop_layers.py CHECKPOINT --drop 20-25 --output FOLDER

The layers behind move up; all else stays. CHECKPOINT is what `gigarank train export` or `merge` wrote, in one file.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

_LAYER = re.compile(r"(?<=layers\.)\d+(?=\.)")
_FILE = "model.safetensors"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--drop", type=dropped, required=True, metavar="FIRST-LAST", help="counted from 0, both included")
    parser.add_argument("--output", type=Path, required=True, help="a folder that is not there")
    given = parser.parse_args(arguments)
    config = json.loads((given.checkpoint / "config.json").read_text(encoding="utf-8"))
    layers = [layer for layer in range(config["num_hidden_layers"]) if layer not in given.drop]
    if given.drop.stop > config["num_hidden_layers"] or not layers:
        raise SystemExit(
            f"drop_layers: {given.checkpoint} has the layers 0 to {config['num_hidden_layers'] - 1}; one must stay"
        )
    places = {old: new for new, old in enumerate(layers)}
    tensors = {}
    for name, tensor in load_file(given.checkpoint / _FILE).items():
        found = _LAYER.search(name)
        if found is None or int(found[0]) in places:
            tensors[_LAYER.sub(lambda one: str(places[int(one[0])]), name)] = tensor
    shutil.copytree(given.checkpoint, given.output, ignore=shutil.ignore_patterns(_FILE))
    save_file(tensors, given.output / _FILE, metadata={"format": "pt"})
    text = json.dumps(config | {"num_hidden_layers": len(layers)}, indent=2) + "\n"
    (given.output / "config.json").write_text(text, encoding="utf-8")


def dropped(text: str) -> range:
    """FIRST-LAST as numbers. Raises ValueError, which argparse shows."""
    first, _, last = text.partition("-")
    found = range(int(first), int(last) + 1)
    if not found:
        raise ValueError(text)
    return found


if __name__ == "__main__":
    main()
