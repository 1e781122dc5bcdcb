"""The public surface: what `import gigarank` offers, what it costs, what errors exist, and that the wheel is typed."""

import json
import pkgutil
import subprocess
import sys
import tomllib
import typing
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import gigarank
from gigarank import errors
from gigarank.engine.reranker import Reranker
from gigarank.types import Pair

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "tokenizers", "safetensors", "huggingface_hub", "numpy", "transformers", "gguf", "typer", "rich")
LIGHT_MODULES = ("gigarank", "gigarank.types", "gigarank.errors", "gigarank.prompt", "gigarank.catalogue")


def subclasses(error: type[errors.GigarankError]) -> Iterator[type[errors.GigarankError]]:
    for child in error.__subclasses__():
        yield child
        yield from subclasses(child)


def drawn_errors() -> dict[str, tuple[str, int, int]]:
    """The tree in the errors module's docstring: name -> (code, status, depth)."""
    assert errors.__doc__ is not None
    drawn = {}
    for line in errors.__doc__.splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if len(words) >= 3 and words[2].isdigit():
            drawn[words[0]] = (words[1], int(words[2]), (line.index(words[0]) - 4) // 4)
    return drawn


def every_module() -> list[str]:
    return [info.name for info in pkgutil.walk_packages(gigarank.__path__, "gigarank.") if "__main__" not in info.name]


ERRORS = [error for error in subclasses(errors.GigarankError) if error.__module__ == errors.__name__]
each_error = pytest.mark.parametrize("error", ERRORS, ids=[error.__name__ for error in ERRORS])


def test_all_is_sorted_and_has_no_name_twice() -> None:
    assert gigarank.__all__ == sorted(set(gigarank.__all__))


@pytest.mark.parametrize("name", gigarank.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(gigarank, name)
    assert name in ("__version__", getattr(value, "__name__", None))
    assert value.__doc__


def test_dir_shows_the_public_names() -> None:
    assert dir(gigarank) == gigarank.__all__


def test_a_name_is_the_one_of_its_home_module() -> None:
    assert gigarank.Reranker is Reranker
    assert gigarank.Pair is Pair


def test_an_unknown_name_is_an_attribute_error_that_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'gigarank' has no attribute 'Rerankr'"):
        gigarank.Rerankr  # noqa: B018
    with pytest.raises(ImportError, match="Rerankr"):
        exec("from gigarank import Rerankr")


def test_the_version_is_the_one_that_is_installed() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert gigarank.__version__ == declared == version("gigarank")


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_the_light_modules_load_no_library(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert module in loaded
    assert loaded.isdisjoint(HEAVY)


def test_light_public_names_load_no_library() -> None:
    assert modules_after("from gigarank import GigarankError, Pair, Score, Windows").isdisjoint(HEAVY)


def test_torch_is_loaded_with_the_first_heavy_name() -> None:
    assert "torch" in modules_after("from gigarank import Reranker")


def test_the_errors_module_draws_the_whole_tree() -> None:
    for module in every_module():
        import_module(module)
    assert {error.__module__ for error in subclasses(errors.GigarankError)} == {errors.__name__}
    assert drawn_errors().keys() == {error.__name__ for error in ERRORS}


@each_error
def test_an_error_has_the_code_the_status_and_the_place_that_the_drawing_says(
    error: type[errors.GigarankError],
) -> None:
    depth = len([base for base in error.__mro__ if issubclass(base, errors.GigarankError)]) - 1
    assert (error.code, error.status, depth) == drawn_errors()[error.__name__]


def test_every_error_has_a_code_of_its_own() -> None:
    assert all("code" in vars(error) for error in ERRORS)
    codes = [error.code for error in ERRORS]
    assert len(codes) == len(set(codes))


@each_error
def test_an_error_carries_its_message_and_the_value_that_was_wrong(error: type[errors.GigarankError]) -> None:
    raised = error("top_n: 0 is less than 1", param="top_n", limit=1, received=0)
    assert str(raised) == raised.message == "top_n: 0 is less than 1"
    assert (raised.param, raised.limit, raised.received) == ("top_n", 1, 0)
    assert isinstance(raised, gigarank.GigarankError)


def test_bad_input_is_also_a_value_error() -> None:
    assert issubclass(errors.InvalidInput, ValueError)
    assert not issubclass(errors.CheckpointError, ValueError)


def test_public_signatures_are_annotated() -> None:
    for name in ("Pair", "Score", "Usage", "Ranking", "Numerics", "EngineOptions", "FirstStage", "Window", "Windows"):
        hints = typing.get_type_hints(getattr(gigarank, name))
        assert hints, name


def test_the_wheel_is_typed_and_holds_the_package_alone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("gigarank-*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    info = f"gigarank-{gigarank.__version__}.dist-info/"
    assert "gigarank/py.typed" in files
    assert f"{info}licenses/LICENSE" in files
    assert {name for name in files if not name.startswith(("gigarank/", info))} == set()
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    shipped = "gigarank/service/web/shipped/"
    assert sources == {name for name in files if name.endswith(".py") and not name.startswith(shipped)}
    assert {f"{shipped}docs/api.md", f"{shipped}clients/curl.sh", f"{shipped}clients/python_rerank.py"} <= set(files)
    web = ROOT / "src" / "gigarank" / "service" / "web"
    shown = {path.relative_to(ROOT / "src").as_posix() for path in web.rglob("*.*") if "__pycache__" not in path.parts}
    assert {path.rpartition(".")[2] for path in shown} >= {"html", "css", "js", "svg"}
    assert shown <= set(files)
