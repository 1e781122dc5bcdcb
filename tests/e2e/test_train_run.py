"""`gigarank train run` in processes of its own: ended by kill -9 and gone on with, on two, in shards, on a full disk."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gigarank import Reranker
from training import small_model, write_dev_set, write_recipe

MAIN = "import sys; from gigarank.cli import main; sys.exit(main())"
STEPS = 6


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipe"), model, STEPS)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """What one process makes that nothing happens to."""
    output = tmp_path_factory.mktemp("whole") / "out"
    done = subprocess.run(command(recipe, output), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["folder"] == str(output / "adapter")
    assert "\r" not in done.stderr, "no progress bar where there is no terminal"
    return output


def command(recipe: Path, output: Path, *before: str) -> list[str]:
    starts = before or (sys.executable, "-W", "error", "-c", MAIN)
    return [*starts, "train", "run", str(recipe), "--output", str(output), "--device", "cpu", "--json"]


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "adapter" / "adapter_model.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_goes_on_and_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, recipe: Path, uninterrupted: Path
) -> None:
    output = tmp_path / "out"
    with subprocess.Popen(command(recipe, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 120
        while not (output / "1-first" / "checkpoint-2" / "whole.json").is_file():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not (output / "adapter").exists()
    half = output / "1-first" / "checkpoint-99"  # as a kill in the middle of writing leaves it
    half.mkdir()
    (half / "adapter_model.safetensors").write_bytes(b"cut off")
    again = subprocess.run(command(recipe, output), capture_output=True, text=True, check=True)
    (stage,) = json.loads(again.stdout)["stages"]
    assert (stage["steps"], stage["pairs"]) == (STEPS, STEPS * 16)
    assert_same(weights(output), weights(uninterrupted))
    done = subprocess.run(command(recipe, output), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["stages"] == [stage], "a run that is done is not run again"


def test_two_processes_train_what_one_does(tmp_path: Path, recipe: Path, uninterrupted: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = ("--master-addr", "127.0.0.1", "--master-port", str(free.getsockname()[1]))
    starts = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *place, "--no-python")
    output = tmp_path / "out"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    asked = command(recipe, output, *starts, sys.executable, "-c", MAIN)
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    (stage,) = json.loads(done.stdout)["stages"]  # told once
    assert stage["pairs"] == STEPS * 16
    one, two = weights(uninterrupted), weights(output)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    assert any(value.abs().max() > 1e-3 for name, value in one.items() if "lora_B" in name), "something was learned"


FSDP = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
use_cpu: true
num_machines: 1
num_processes: 2
mixed_precision: "no"
fsdp_config:
  fsdp_version: {version}
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_transformer_layer_cls_to_wrap: Qwen3DecoderLayer
  fsdp_reshard_after_forward: {reshard}
  fsdp_state_dict_type: FULL_STATE_DICT
"""
SECOND_AND_DEV = """
[[stage]]
name = "second"
losses = { sft = 1.0 }
queries = 4
documents = 4
steps = 2
learning_rate = 0.001
data = [{ path = "rows.jsonl" }]
[dev]
sets = ["set"]
every = 2
"""


def launched(folder: Path, version: int = 2) -> tuple[str, ...]:
    """What comes before the program where accelerate starts two processes that share the weights."""
    config = folder / "fsdp.yaml"
    config.write_text(FSDP.format(version=version, reshard="true" if version == 2 else "FULL_SHARD"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    starts = ("-m", "accelerate.commands.launch", "--config_file", str(config), "--main_process_port", port)
    return (sys.executable, *starts, "--no_python", sys.executable, "-c", MAIN)


def test_shards_that_were_killed_go_on_and_end_with_the_weights_of_one_process(tmp_path: Path, model: Path) -> None:
    """All weights, two stages, each ended with the best weights of a dev set; atol is a tenth of a step of Adam's."""
    recipe = write_recipe(tmp_path / "r", model, STEPS, **{"[lora]\nrank = 4\nalpha = 8\n": "", "0.01": "0.001"})
    recipe.write_text(recipe.read_text() + SECOND_AND_DEV)
    write_dev_set(recipe.parent / "set", candidates=True)
    plain, output = tmp_path / "plain", tmp_path / "out"
    wanted = json.loads(subprocess.run(command(recipe, plain), capture_output=True, check=True).stdout)["stages"]
    asked = command(recipe, output, *launched(tmp_path))
    with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until = time.monotonic() + 600
        while not (output / "1-first" / "checkpoint-4" / "whole.json").is_file():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    assert (output / "1-first" / "checkpoint-4" / "pytorch_model_fsdp.bin").is_file(), "not copies of the weights, but shards"
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = json.loads(done.stdout)["stages"]
    assert (first["pairs"], second["pairs"]) == (STEPS * 16, 2 * 16)
    for stage, alone in zip((first, second), wanted, strict=True):
        assert stage["best_step"] == alone["best_step"]
        assert stage["loss"] == pytest.approx(alone["loss"], rel=1e-2), "of the last step, whatever the best was"
    before = load_file(model / "model.safetensors")
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (plain, output))
    assert one.keys() == two.keys() == before.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-4)
        assert (value - before[name]).abs().max() > 1e-3, "something was learned"
    assert Reranker.load(output / "model", device="cpu").rank("red", ["red", "sea"])


def test_shards_that_could_not_be_put_together_are_refused_first(tmp_path: Path, recipe: Path) -> None:
    output = tmp_path / "out"
    asked = command(recipe, output, sys.executable, "-c", MAIN)
    for variable, value, key in (
        ("FSDP_VERSION", "1", "fsdp_version: must be 2, not 1"),
        ("FSDP_STATE_DICT_TYPE", "SHARDED_STATE_DICT", "fsdp_state_dict_type: must be FULL_STATE_DICT, not SHARDED_STATE_DICT"),
    ):
        environment = os.environ | {"ACCELERATE_USE_FSDP": "true", variable: value}
        refused = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False)
        assert (refused.returncode, refused.stderr) == (2, f"gigarank: error: fsdp_config.{key}\n")
    assert not output.exists()


def test_a_full_disk_ends_the_run_with_the_place_and_loses_no_checkpoint(tmp_path: Path, recipe: Path) -> None:
    output = tmp_path / "out"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    failed = subprocess.run(command(recipe, output), capture_output=True, text=True, preexec_fn=limit, check=False)
    assert failed.returncode == 4
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"gigarank: error: {output / '1-first' / 'checkpoint-2'}: this checkpoint could not be written")
    assert not (output / "1-first" / "checkpoint-2").exists()
