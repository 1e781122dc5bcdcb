"""The size budget's script, run on small trees: each rule accepts what is at its limit and names what is over it."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "budget.py"


def tree(root: Path, files: dict[str, str]) -> Path:
    """Writes `files` below `root`, and tests long enough for any of them."""
    for name, text in {"tests/test_all.py": "assert True\n" * 1000, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def check(root: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def function(lines: int, name: str = "f", parameters: str = "") -> str:
    return f"def {name}({parameters}):\n" + "    x = 1\n" * (lines - 1)


def short_functions(count: int) -> str:
    return "".join(function(2, f"short_{i}") for i in range(count))


def test_a_tree_within_budget_passes_and_is_summed_up(tmp_path: Path) -> None:
    root = tree(tmp_path, {"src/pack/__init__.py": "", "src/pack/a.py": function(4) + function(6, "g")})
    assert check(root) == (0, ["2 modules, 2 functions: median 5 lines, nine in ten at most 6"])


def test_an_empty_tree_passes(tmp_path: Path) -> None:
    assert check(tmp_path) == (0, ["0 modules, 0 functions: median 0 lines, nine in ten at most 0"])


@pytest.mark.parametrize(("lines", "status"), [(60, 0), (61, 1)])
def test_one_function_may_have_sixty_lines(tmp_path: Path, lines: int, status: int) -> None:
    root = tree(tmp_path, {"src/pack/a.py": "\n" + function(lines, "long") + short_functions(12)})
    got, out = check(root)
    assert got == status
    assert (out[0] == "src/pack/a.py:2: long has 61 lines; at most 60") is bool(status)


def test_scripts_and_examples_have_the_same_limits(tmp_path: Path) -> None:
    long = function(61, "long") + short_functions(12)
    got, out = check(tree(tmp_path, {"scripts/a.py": long, "examples/b.py": long}))
    assert got == 1
    assert [line.split(":")[0] for line in out[:-1]] == ["scripts/a.py", "examples/b.py"]


@pytest.mark.parametrize(("lines", "status"), [(10, 0), (11, 1)])
def test_the_median_is_ten_lines_at_most(tmp_path: Path, lines: int, status: int) -> None:
    text = function(2, "a") + function(lines, "b") + function(20, "c")
    got, out = check(tree(tmp_path, {"src/pack/a.py": text}))
    assert got == status
    assert ("the median function has 11 lines; at most 10" in out) is bool(status)


@pytest.mark.parametrize(("longer", "status"), [(2, 0), (3, 1)])
def test_one_function_in_ten_may_exceed_35_lines(tmp_path: Path, longer: int, status: int) -> None:
    text = short_functions(20 - longer) + "".join(function(36, f"long_{i}") for i in range(longer))
    got, out = check(tree(tmp_path, {"src/pack/a.py": text}))
    assert got == status
    assert ("one function in ten has more than 35 lines: nine in ten have at most 36" in out) is bool(status)


@pytest.mark.parametrize(("lines", "status"), [(300, 0), (301, 1)])
def test_a_module_has_300_lines_at_most(tmp_path: Path, lines: int, status: int) -> None:
    got, out = check(tree(tmp_path, {"src/pack/a.py": "x = 1\n" * lines}))
    assert got == status
    assert ("src/pack/a.py: 301 lines; a module has at most 300" in out) is bool(status)


@pytest.mark.parametrize(
    ("parameters", "counted"),
    [
        ("a, b, c, d, e, f", 6),
        ("a, b, c, d, e, f, g", 7),
        ("self, a, b, c, d, e, f", 6),
        ("cls, a, /, b, *c, d, e, **f", 6),
        ("self, a, /, b, *c, d, e, f, **g", 7),
        ("a, self, b, c, d, e, f", 7),
    ],
)
def test_six_parameters_besides_self_are_the_most(tmp_path: Path, parameters: str, counted: int) -> None:
    got, out = check(tree(tmp_path, {"src/pack/a.py": function(2, parameters=parameters)}))
    assert got == (counted > 6)
    assert (f"src/pack/a.py:1: f has {counted} parameters; at most 6" in out) is (counted > 6)


def test_methods_and_inner_functions_are_measured_too(tmp_path: Path) -> None:
    text = "class A:\n    def outer(self, a, b, c, d, e, f, g):\n        async def inner(a, b, c, d, e, f, g): ...\n"
    got, out = check(tree(tmp_path, {"src/pack/a.py": text}))
    assert got == 1
    assert [line.split(" has ")[0] for line in out[:-1]] == ["src/pack/a.py:2: outer", "src/pack/a.py:3: inner"]


@pytest.mark.parametrize(
    "statement",
    [
        "import pack.a",
        "from pack import a",
        "from pack.a import f",
        "from . import a",
        "def g():\n    from .a import f",
    ],
)
def test_a_cycle_is_named_however_it_is_imported(tmp_path: Path, statement: str) -> None:
    files = {
        "src/pack/__init__.py": "",
        "src/pack/a.py": "import pack.b\n",
        "src/pack/b.py": "from pack.c import f\n",
        "src/pack/c.py": statement + "\n",
    }
    got, out = check(tree(tmp_path, files))
    assert got == 1
    assert out[0] == "imports form a cycle: pack.a -> pack.b -> pack.c -> pack.a"


def test_imports_that_do_not_run_form_no_cycle(tmp_path: Path) -> None:
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.a import f\n"
    files = {"src/pack/a.py": "import pack.b\nimport os.path\n", "src/pack/b.py": guarded}
    assert check(tree(tmp_path, files))[0] == 0


def test_a_package_may_import_its_own_modules_and_they_each_other(tmp_path: Path) -> None:
    files = {
        "src/pack/__init__.py": "from pack import a, b\n",
        "src/pack/a.py": "from pack import b\n",
        "src/pack/b.py": "from . import c\n",
        "src/pack/c.py": "",
    }
    assert check(tree(tmp_path, files))[0] == 0


def test_a_module_that_needs_what_its_package_defines_closes_a_cycle(tmp_path: Path) -> None:
    files = {"src/pack/__init__.py": "from pack import a\nVERSION = 1\n", "src/pack/a.py": "from pack import VERSION\n"}
    got, out = check(tree(tmp_path, files))
    assert got == 1
    assert out[0] == "imports form a cycle: pack -> pack.a -> pack"


def test_a_diamond_is_no_cycle(tmp_path: Path) -> None:
    files = {
        "src/pack/a.py": "import pack.b, pack.c\n",
        "src/pack/b.py": "import pack.d\n",
        "src/pack/c.py": "import pack.d\n",
        "src/pack/d.py": "",
    }
    assert check(tree(tmp_path, files))[0] == 0


@pytest.mark.parametrize("handler", ["except Exception:", "except BaseException:", "except:"])
def test_two_broad_handlers_are_the_most(tmp_path: Path, handler: str) -> None:
    one = f"try:\n    x = 1\n{handler}\n    x = 2\n"
    assert check(tree(tmp_path, {"src/pack/a.py": one * 2}))[0] == 0
    got, out = check(tree(tmp_path, {"src/pack/a.py": one * 3}))
    assert got == 1
    assert out[0] == "3 broad `except`; at most 2: src/pack/a.py:3, src/pack/a.py:7, src/pack/a.py:11"


def test_narrow_handlers_are_not_counted(tmp_path: Path) -> None:
    narrow = "try:\n    x = 1\nexcept (ValueError, OSError):\n    x = 2\n"
    assert check(tree(tmp_path, {"src/pack/a.py": narrow * 5}))[0] == 0


@pytest.mark.parametrize(("test_lines", "status"), [(5, 0), (4, 1)])
def test_tests_are_at_least_as_long_as_the_source(tmp_path: Path, test_lines: int, status: int) -> None:
    files = {"src/pack/a.py": "x = 1\n\n" * 5, "tests/test_all.py": "assert True\n\n\n" * test_lines}
    got, out = check(tree(tmp_path, files))
    assert got == status
    assert ("tests have 4 lines, 1 fewer than the source; they must have at least as many" in out) is bool(status)


def test_docstrings_and_blank_lines_are_no_lines_of_source_or_of_tests(tmp_path: Path) -> None:
    documented = '"""What it does.\n\nMore of it.\n"""\n\n\ndef f() -> str:\n    """One."""\n    return "text"\n'
    root = tree(tmp_path, {"src/pack/__init__.py": "", "src/pack/a.py": documented, "tests/test_all.py": "x = 1\n" * 2})
    assert check(root)[0] == 0
    status, said = check(tree(tmp_path, {"tests/test_all.py": '"""Long.\n\nLonger."""\n\nx = 1\n'}))
    assert status == 1 and said[0] == "tests have 1 lines, 1 fewer than the source; they must have at least as many"
