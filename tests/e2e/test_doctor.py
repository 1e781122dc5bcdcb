"""`gigarank doctor` as a shell runs it: what it prints, and the exit code that a script can rely on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from safetensors.torch import load_file, save_file

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.prompt import QWEN3_V1

Program = Callable[..., CompletedProcess[str]]
SHAPE = Shape("qwen3", 64, 2, 4, 2, 16, 128, 12_000, True, 1e6, 1e-6, 4_096)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "sound"
    write_checkpoint(folder, SHAPE, QWEN3_V1)
    return folder


@pytest.fixture
def broken(sound: Path, tmp_path: Path) -> Path:
    """The same, with equal rows for yes and no."""
    folder = Path(shutil.copytree(sound, tmp_path / "broken"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][9693] = tensors["model.embed_tokens.weight"][2152]
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_sound_model_ends_in_zero_and_shows_what_it_runs_with(gigarank: Program, sound: Path) -> None:
    done = gigarank("doctor", str(sound))
    assert done.returncode == 0, done.stderr
    assert "sound (prompt qwen3-v1): all checks passed" in done.stdout
    assert "FAILED" not in done.stdout
    for shown in ("cpu, fp32", "products", "deterministic", "threads", "versions  python 3", "memory ", "torch 2"):
        assert shown in done.stdout


def test_a_broken_model_ends_in_one_and_names_the_checks(gigarank: Program, broken: Path) -> None:
    done = gigarank("doctor", str(broken))
    assert done.returncode == 1
    assert "broken (prompt qwen3-v1): NOT SOUND" in done.stdout
    failed = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if "FAILED" in line]
    assert failed == ["head", "scores"]
    assert "Traceback" not in done.stderr


def test_json_holds_checks_numerics_and_versions_and_the_same_exit_code(gigarank: Program, sound: Path, broken: Path) -> None:
    done = gigarank("doctor", str(broken), "--json", "--dtype", "fp64")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["model"], found["passed"]) == ("broken", False)
    assert {check["name"] for check in found["checks"] if not check["passed"]} == {"head", "scores"}
    assert all({"name", "passed", "detail", "applies"} == set(check) for check in found["checks"])
    assert found["numerics"]["dtype"] == "fp64"
    assert {"python", "torch", "tokenizers", "safetensors", "huggingface-hub", "gigarank"} == set(found["machine"]["versions"])
    assert 50 << 20 < found["memory"]["process_bytes"] < found["memory"]["machine_bytes"]
    assert json.loads(gigarank("doctor", str(sound), "--json").stdout)["passed"] is True


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [("tokenizer.json", 3, "tokenizer.json"), ("model.safetensors", 3, "safetensors"), ("config.json", 3, "config.json")],
)
def test_a_model_that_does_not_load_is_one_line(
    gigarank: Program, sound: Path, tmp_path: Path, change: str, code: int, message: str
) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "incomplete"))
    (folder / change).unlink()
    done = gigarank("doctor", str(folder))
    assert done.returncode == code
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gigarank: error:")]
    assert message in line


@pytest.mark.parametrize("model", ["no-such-model", "qwen3-embedding-0.6b"])
def test_what_is_no_reranker_is_refused(gigarank: Program, model: str) -> None:
    done = gigarank("doctor", model)
    assert done.returncode == 2
    assert model in done.stderr
