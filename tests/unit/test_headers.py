"""What a checkpoint's files say of it before a tensor is opened."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gigarank import catalogue
from gigarank.engine.headers import kind_of, tensors_of
from gigarank.engine.store import Checkpoint
from gigarank.errors import CheckpointError


@pytest.mark.parametrize(("prefix", "kind"), [("model.", "reranker"), ("", "embedder")])
def test_without_another_sign_the_tensors_names_tell_the_kind(tmp_path: Path, prefix: str, kind: str) -> None:
    save_file({f"{prefix}norm.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert kind_of(Checkpoint("x", tmp_path, None, "folder")) == kind


def test_the_layout_goes_before_the_names_and_the_catalogue_before_the_layout(tmp_path: Path) -> None:
    save_file({"model.norm.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "1_Pooling").mkdir()
    assert kind_of(Checkpoint("x", tmp_path, None, "folder")) == "embedder"
    assert kind_of(Checkpoint("x", tmp_path, catalogue.RERANKER_0_6B, "hub")) == "reranker"


def test_dtypes_and_sizes_are_read_and_what_is_no_header_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2, 3, dtype=torch.bfloat16), "b": torch.zeros(())}, file, metadata={"format": "pt"})
    assert tensors_of(file) == {"a": ("BF16", 6), "b": ("F32", 1)}
    file.write_bytes(b"no header")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        tensors_of(file)
