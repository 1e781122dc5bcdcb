"""Models as flags name them: names, aliases, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from gigarank.errors import InvalidInput, UnknownModel
from gigarank.service.hosting.options import HostOptions
from gigarank.service.hosting.specs import ModelSpec, parse_specs, require_unique


def test_a_catalogue_model_by_each_of_its_names() -> None:
    for word in ("qwen3-reranker-0.6b", "0.6b", "qwen/qwen3-reranker-0.6b"):
        (spec,) = parse_specs([word])
        assert spec.name == "qwen3-reranker-0.6b"
        assert spec.aliases == ("Qwen/Qwen3-Reranker-0.6B", "0.6b")  # the short repository name is the name
        assert (spec.source, spec.pinned) == (word, True)


def test_a_hub_id_also_goes_by_its_last_part() -> None:
    (spec,) = parse_specs(["someone/their-Model"])
    assert (spec.name, spec.aliases) == ("someone/their-Model", ("their-Model",))


def test_a_folder_goes_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(folder)
    for word in (str(folder), "."):
        assert parse_specs([word])[0].names == ("mine",)
    monkeypatch.chdir(tmp_path)
    assert parse_specs(["mine"])[0].names == ("mine",)  # as the engine does: a folder with a config.json


def test_a_given_name_keeps_the_others_as_aliases() -> None:
    (spec,) = parse_specs(["prod=nano"])
    assert spec.name == "prod"
    assert spec.aliases == ("nano", "HuggingFaceTB/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct")
    assert parse_specs(["prod=/some/where=else"])[0] == ModelSpec("prod", "/some/where=else", (), True)


def test_one_checkpoint_under_two_names() -> None:
    one, two = parse_specs(["one=nano", "nano"])
    assert "nano" not in one.aliases  # a name goes before an alias that follows from the source
    assert two.aliases == ()
    assert (one.pinned, two.pinned) == (True, False)


def test_the_default_is_pinned_by_any_of_its_names() -> None:
    first, second = parse_specs(["nano", "fast=0.6b"], "Qwen3-Reranker-0.6B")
    assert (first.pinned, second.pinned) == (False, True)
    with pytest.raises(InvalidInput, match="default_model: 'other' is none of the models offered: nano, fast") as caught:
        parse_specs(["nano", "fast=0.6b"], "other")
    assert caught.value.limit == ["nano", "fast"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "at least one model"),
        (["nano", "NANO"], "the name 'nano' stands for nano and for NANO; give one of them a name of its own, as in NAME=NANO"),
        (["A=nano", "a=0.6b"], "the name 'a' stands for nano and for 0.6b"),
        (["/x/same", "/y/same"], "the name 'same' stands for /x/same and for /y/same"),
        (["=nano"], "'=nano' must be NAME=SOURCE"),
        (["x="], "'x=' must be NAME=SOURCE"),
        (["a b=nano"], "'a b=nano' must be NAME=SOURCE"),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse_specs(words)
    assert caught.value.param == "models"


def test_what_is_no_model_is_unknown_with_the_nearest() -> None:
    with pytest.raises(UnknownModel, match=r"'nanoo' is no known model.*nano"):
        parse_specs(["nanoo"])


def test_an_alias_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the name 'Z' stands for one and for two"):
        require_unique([ModelSpec("a", "one", ("z",)), ModelSpec("b", "two", ("Z",))])


@pytest.mark.parametrize("field", ["idle_s", "retry_failed_s", "fresh_s", "patience_s"])
def test_options_are_checked(field: str) -> None:
    for value in (-1.0, float("nan")):
        with pytest.raises(InvalidInput, match=f"{field}: must be at least 0"):
            HostOptions((), **{field: value})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="memory_bytes: must be at least 1, not 0"):
        HostOptions((), memory_bytes=0)


def test_specs_and_the_servers_borders_import_no_torch() -> None:
    code = (
        "import sys, gigarank.service.hosting.options, gigarank.service.hosting.specs, gigarank.service.fake;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
