"""`gigarank train run` in processes of its own: ended by kill -9 and gone on with, on two processes, on a disk that is full."""

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

from training import small_model, write_recipe

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
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (stage,) = json.loads(done.stdout)["stages"]  # told once
    assert stage["pairs"] == STEPS * 16
    one, two = weights(uninterrupted), weights(output)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
    assert any(value.abs().max() > 1e-3 for name, value in one.items() if "lora_B" in name), "something was learned"


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
