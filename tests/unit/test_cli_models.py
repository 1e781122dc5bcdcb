"""`gigarank models`: the whole catalogue, what is here, and figures that say whose they are. No network is touched."""

import json
import re
from pathlib import Path

import pytest

from gigarank.catalogue import MODELS, NANO, RERANKER_0_6B, SUITES
from gigarank.cli import app, failures


@pytest.fixture(autouse=True)
def nothing_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GIGARANK_CACHE", str(tmp_path / "gigarank"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert failures.run(app, ["models", *arguments]) == 0
    shown = capfd.readouterr()
    listing = not {"show", "get", "--json"} & set(arguments)
    assert shown.err == (f"note: {NANO.caveat}\n" if listing else "")
    return shown.out


def test_the_list_has_a_line_for_each_model(capfd: pytest.CaptureFixture[str]) -> None:
    rows = [line.split("\t") for line in run(capfd).splitlines()]
    assert [row[0] for row in rows] == [model.name for model in MODELS]
    assert rows[0] == ["nano", NANO.repository, "reranker", "135M", "8,192", "Apache-2.0", "-"]
    assert rows[3][3] == "8.2B"


def test_the_list_as_json_is_one_object_with_all_that_is_known(capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, "--json")
    models = json.loads(out)["models"]
    assert out.count("\n") == 1
    assert [model["name"] for model in models] == [model.name for model in MODELS]
    assert models[1]["parameters"] == RERANKER_0_6B.parameters
    assert models[1]["shape"]["hidden_size"] == 1024
    assert models[1]["folder"] is None


@pytest.mark.parametrize("name", ["qwen3-reranker-0.6b", "0.6B", "Qwen/Qwen3-Reranker-0.6B"])
def test_show_finds_a_model_by_name_alias_and_repository(capfd: pytest.CaptureFixture[str], name: str) -> None:
    assert run(capfd, "show", name).startswith("qwen3-reranker-0.6b\n")


def test_show_tells_all_and_whose_the_figures_are(capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, "show", "0.6b")
    parameters = re.search(r"^  parameters +595,776,512$", out, re.MULTILINE)
    hidden = re.search(r"^  hidden size +1,024$", out, re.MULTILINE)
    assert parameters and hidden
    _, figures = out.split("figures published by the authors (arXiv 2506.05176), not measured here\n")
    assert [line.split() for line in figures.splitlines()] == [[suite, str(RERANKER_0_6B.published[suite])] for suite in SUITES]


def test_show_as_json_keeps_the_figures_with_their_source(capfd: pytest.CaptureFixture[str]) -> None:
    model = json.loads(run(capfd, "show", "0.6b", "--json"))
    assert model["published"] == {
        "source": "published by the authors (arXiv 2506.05176), not measured here",
        "figures": RERANKER_0_6B.published,
    }


def test_nano_has_its_caveat_and_its_wheel_and_no_figures(capfd: pytest.CaptureFixture[str]) -> None:
    out = run(capfd, "show", "nano")
    assert str(NANO.caveat) in out
    assert NANO.wheel is not None and NANO.wheel.wheel_sha256 in out
    assert "published" not in out
    assert re.search(r"^  folder +-$", out, re.MULTILINE)  # nothing is here


def test_get_of_what_cannot_be_had_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert failures.run(app, ["models", "get", "qwen3-reranker-8b"]) == 3
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("gigarank: error: ") and shown.err.count("\n") == 1
