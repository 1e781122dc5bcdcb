"""A checkpoint, or an adapter, without some of its layers: how many does it need?

    python drop_layers.py CHECKPOINT --drop 20-25 --output FOLDER

The layers behind move up; all else stays. CHECKPOINT is what `gigarank train export` or `merge` wrote, in one file; or the
folder of an adapter of every layer of its base, which says afterwards, by peft's `layer_replication`, which of them are left.
"""

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from gigarank.model.layer_stack import KEY, StackedTensors, layer_count, with_layers
from gigarank.model.weights import TensorDict

_WHOLE, _ADAPTER = ("config.json", "model.safetensors"), ("adapter_config.json", "adapter_model.safetensors")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--drop", type=dropped, required=True, metavar="FIRST-LAST", help="counted from 0, both included")
    parser.add_argument("--output", type=Path, required=True, help="a folder that is not there")
    given = parser.parse_args(arguments)
    adapter = (given.checkpoint / _ADAPTER[0]).is_file()
    config_name, file = _ADAPTER if adapter else _WHOLE
    config = json.loads((given.checkpoint / config_name).read_text(encoding="utf-8"))
    tensors = load_file(given.checkpoint / file)
    count = layer_count(tensors)
    layers = [layer for layer in range(count) if layer not in given.drop]
    if given.drop.stop > count or not layers:
        raise SystemExit(f"drop_layers: {given.checkpoint} has the layers 0 to {count - 1}; one must stay")
    if config.get(KEY):
        raise SystemExit(f"drop_layers: {given.checkpoint} is of some of its base's layers already")
    shutil.copytree(given.checkpoint, given.output, ignore=shutil.ignore_patterns(file))
    left = StackedTensors(TensorDict(tensors), tuple(layers))
    save_file({name: left.get(name) for name in left.shapes()}, given.output / file, metadata={"format": "pt"})
    ranges = [[start, stop] for start, stop in ((0, given.drop.start), (given.drop.stop, count)) if start < stop]
    changed = config | {KEY: ranges} if adapter else with_layers(config, len(layers))
    (given.output / config_name).write_text(json.dumps(changed, indent=2) + "\n", encoding="utf-8")


def dropped(text: str) -> range:
    """FIRST-LAST as numbers. Raises ValueError, which argparse shows."""
    first, _, last = text.partition("-")
    found = range(int(first), int(last) + 1)
    if not found:
        raise ValueError(text)
    return found


if __name__ == "__main__":
    main()
