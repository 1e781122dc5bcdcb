"""Names become folders: a folder itself, catalogue names, hub ids, and what is neither."""

from pathlib import Path
from typing import Any

import pytest

from gigarank.catalogue import MODELS, NANO, RERANKER_0_6B
from gigarank.engine import presence
from gigarank.engine.store import Checkpoint, cache_folder, locate, present
from gigarank.errors import CheckpointError, InvalidInput, ModelUnavailable, UnknownModel


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own cache, an own working folder, and no index to fetch from."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("GIGARANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path


def checkpoint_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


def made_nano(folder: Path) -> Path:
    return checkpoint_folder(cache_folder() / "models" / folder)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path / "mine" / "model-a")
    assert locate(folder) == Checkpoint("model-a", folder, None, "folder")
    assert locate(str(folder)).folder == folder


def test_a_folder_may_be_relative_or_under_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint_folder(tmp_path / "work" / "near")
    monkeypatch.setenv("HOME", str(tmp_path / "work"))
    assert [locate(name).name for name in ("near", "./near", "~/near", "../work/near/.")] == ["near"] * 4


def test_a_checkpoint_folder_wins_over_a_known_name(tmp_path: Path) -> None:
    checkpoint_folder(tmp_path / "work" / "nano")
    found = locate("nano")
    assert (found.source, found.model) == ("folder", None)


def test_a_chance_folder_does_not_hide_a_known_name(tmp_path: Path) -> None:
    (tmp_path / "work" / "nano").mkdir()
    made = made_nano(presence.nano_folder(NANO, cache_folder()).relative_to(cache_folder() / "models"))
    assert locate("nano").folder == made


def test_a_folder_without_config_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "work" / "org" / "name").mkdir(parents=True)
    for name in ("org/name", tmp_path / "work"):
        with pytest.raises(CheckpointError, match=r"holds no config\.json") as caught:
            locate(name)
        assert caught.value.received == str(name)


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "~/absent", Path("absent/folder")])
def test_a_path_to_nothing_is_no_hub_id(name: str | Path) -> None:
    said = "there is no folder" if isinstance(name, str) else "no known model"
    with pytest.raises(UnknownModel, match=f"{said}.*absent|absent.*{said}"):
        locate(name)


@pytest.mark.parametrize("name", ["qwen3-rerankr-0.6b", "", "a/b/c", "org/", "org name/x", "https://host/x"])
def test_anything_else_is_unknown_with_the_nearest_names(name: str) -> None:
    with pytest.raises(UnknownModel, match="no known model, no folder and no hub id; nearest: ") as caught:
        locate(name)
    assert caught.value.received == name


def test_nearest_names_are_given() -> None:
    with pytest.raises(UnknownModel, match=r"qwen3-reranker-0\.6b"):
        locate("qwen3-rerankr-0.6b")


def test_nano_is_found_where_it_was_made(tmp_path: Path) -> None:
    assert present(NANO) is None
    wheel = presence.nano_folder(NANO, cache_folder()).name
    from_hub = made_nano(Path(presence.hub_folder(NANO, "0123abcd")))
    assert (locate("nano").folder, locate("nano").source) == (from_hub, "hub")
    from_wheel = made_nano(Path(wheel))
    assert locate("NANO") == Checkpoint("nano", from_wheel, NANO, "wheel")
    assert present(NANO) == from_wheel


def test_nano_that_cannot_be_had_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable, match="gigarank models get nano") as caught:
        locate("nano")
    assert caught.value.status == 503


@pytest.mark.parametrize("name", ["0.6b", "qwen3-reranker-0.6b", "Qwen/Qwen3-Reranker-0.6B", "some-org/some.model_1"])
def test_a_hub_model_offline_is_unavailable_and_says_what_was_tried(name: str) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        locate(name)
    repository = "some-org/some.model_1" if "/some" in name else RERANKER_0_6B.repository
    for part in (repository, "looked in", "HF_HUB_OFFLINE", "copy its folder"):
        assert part in caught.value.message


def test_nanos_repository_means_the_hubs_own_weights() -> None:
    made_nano(Path(presence.nano_folder(NANO, cache_folder()).name))
    with pytest.raises(ModelUnavailable, match="HuggingFaceTB/SmolLM2-135M-Instruct is not on this machine"):
        locate("HuggingFaceTB/SmolLM2-135M-Instruct")


def test_a_revision_is_refused_where_there_is_none(tmp_path: Path) -> None:
    folder = checkpoint_folder(tmp_path / "mine")
    for name in (folder, "nano"):
        with pytest.raises(InvalidInput, match="'v2' cannot be chosen") as caught:
            locate(name, revision="v2")
        assert caught.value.param == "revision"


def test_nothing_is_present_on_an_empty_machine() -> None:
    absent: dict[str, Any] = {model.name: present(model) for model in MODELS if model is NANO}
    assert absent == {"nano": None}


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIGARANK_CACHE", "~/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    seen = [cache_folder()]
    monkeypatch.setenv("GIGARANK_CACHE", "")
    seen.append(cache_folder())
    monkeypatch.delenv("XDG_CACHE_HOME")
    seen.append(cache_folder())
    assert seen == [tmp_path / "mine", tmp_path / "xdg" / "gigarank", tmp_path / ".cache" / "gigarank"]
