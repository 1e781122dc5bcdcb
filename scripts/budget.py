"""The size budget of the source, checked: how long functions and modules may be, and that imports form no cycle.

Reads source text with `ast`, imports nothing of it. A function's length is its lines from `def` to its end, docstring
included; parameters are counted without self and cls. Imports under `if TYPE_CHECKING:` do not run, and do not count.
Invariant: exit status 0 means that every rule in `broken_rules` holds.
"""

import ast
import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_FUNCTION_LINES = 60
MAX_MEDIAN_LINES = 10
MAX_P90_LINES = 35
MAX_MODULE_LINES = 300
MAX_PARAMETERS = 6
MAX_BROAD_EXCEPTS = 2
MEASURED = ("src", "scripts", "examples")


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method; `place` is path:line."""

    name: str
    place: str
    lines: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Module:
    """One source file. `lines` counts all lines, `code_lines` those that are neither blank nor a docstring's, for a docstring
    needs no test; `imports` are dotted names of modules or of what a module holds."""

    name: str
    path: str
    lines: int
    code_lines: int
    functions: tuple[Function, ...]
    imports: frozenset[str]
    broad_excepts: tuple[str, ...]


def read_module(path: Path, root: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    shown = path.relative_to(root).as_posix()
    tree = ast.parse(text, filename=shown)
    nodes = list(_nodes_that_run(tree))
    lines = text.splitlines()
    return Module(
        name=_dotted(path.relative_to(root)),
        path=shown,
        lines=len(lines),
        code_lines=sum(1 for line in lines if line.strip()) - _docstring_lines(tree, lines),
        functions=tuple(_function(n, shown) for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)),
        imports=frozenset(name for node in nodes for name in _imported(node, _package(path.relative_to(root)))),
        broad_excepts=tuple(f"{shown}:{n.lineno}" for n in nodes if isinstance(n, ast.ExceptHandler) and _is_broad(n)),
    )


def _docstring_lines(tree: ast.Module, lines: list[str]) -> int:
    """Of docstrings, without their blank lines."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    firsts = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node, clean=False)]
    return sum(1 for first in firsts for line in lines[first.lineno - 1 : first.end_lineno] if line.strip())


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    parts = parts[1:] if parts[0] == "src" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _package(path: Path) -> list[str]:
    """The names of the package that the module at `path` stands in: what a relative import starts from."""
    return [part for part in path.parent.parts if part != "src"]


def _nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node below `tree`, leaving out the bodies of `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _nodes_that_run(child)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, path: str) -> Function:
    given = node.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if a]
    own = names[:1] in (["self"], ["cls"])
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return Function(node.name, f"{path}:{node.lineno}", lines, len(names) - own)


def _imported(node: ast.AST, package: list[str]) -> list[str]:
    """The dotted names that an import statement asks for: `from a import b` is a.b, whether that is a module or not."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) + 1 - node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    return []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")


def read_modules(root: Path, folders: tuple[str, ...]) -> list[Module]:
    return [read_module(path, root) for folder in folders for path in sorted((root / folder).rglob("*.py"))]


def import_graph(modules: list[Module]) -> dict[str, frozenset[str]]:
    """Which of the modules each one imports: a name that is no module itself stands for the module that holds it."""
    known = {module.name for module in modules}
    return {
        module.name: frozenset(name if name in known else name.rpartition(".")[0] for name in module.imports) & known
        for module in modules
    }


def find_cycle(imports: Mapping[str, frozenset[str]]) -> list[str]:
    """One cycle of modules that import each other, its first name again at its end; [] where there is none."""
    done: set[str] = set()

    def follow(trail: list[str]) -> list[str]:
        for name in sorted(imports[trail[-1]]):
            if name in trail:
                return [*trail[trail.index(name) :], name]
            if name not in done and (cycle := follow([*trail, name])):
                return cycle
        done.add(trail[-1])
        return []

    return next((cycle for start in sorted(imports) if start not in done and (cycle := follow([start]))), [])


def broken_rules(modules: list[Module], test_code_lines: int) -> list[str]:
    """One sentence a broken rule, with the limit and what was found. `modules` are the measured ones, without tests."""
    functions = [function for module in modules for function in module.functions]
    return [*_long_things(modules, functions), *_spread(functions), *_whole(modules, test_code_lines)]


def _long_things(modules: list[Module], functions: list[Function]) -> Iterator[str]:
    for module in modules:
        if module.lines > MAX_MODULE_LINES:
            yield f"{module.path}: {module.lines} lines; a module has at most {MAX_MODULE_LINES}"
    for function in functions:
        if function.lines > MAX_FUNCTION_LINES:
            yield f"{function.place}: {function.name} has {function.lines} lines; at most {MAX_FUNCTION_LINES}"
        if function.parameters > MAX_PARAMETERS:
            yield f"{function.place}: {function.name} has {function.parameters} parameters; at most {MAX_PARAMETERS}"


def _spread(functions: list[Function]) -> Iterator[str]:
    median, p90 = spread(functions)
    if median > MAX_MEDIAN_LINES:
        yield f"the median function has {median:g} lines; at most {MAX_MEDIAN_LINES}"
    if p90 > MAX_P90_LINES:
        yield f"one function in ten has more than {MAX_P90_LINES} lines: nine in ten have at most {p90}"


def spread(functions: list[Function]) -> tuple[float, int]:
    """(median, length that nine functions in ten do not exceed), in lines."""
    lengths = sorted(function.lines for function in functions)
    if not lengths:
        return 0, 0
    return statistics.median(lengths), lengths[-(-len(lengths) * 9 // 10) - 1]


def _whole(modules: list[Module], test_code_lines: int) -> Iterator[str]:
    broad = [place for module in modules for place in module.broad_excepts]
    if len(broad) > MAX_BROAD_EXCEPTS:
        yield f"{len(broad)} broad `except`; at most {MAX_BROAD_EXCEPTS}: {', '.join(broad)}"
    cycle = find_cycle(import_graph(modules))
    if cycle:
        yield f"imports form a cycle: {' -> '.join(cycle)}"
    source_lines = sum(module.code_lines for module in modules if module.path.startswith("src/"))
    if test_code_lines < source_lines:
        missing = source_lines - test_code_lines
        yield f"tests have {test_code_lines} lines, {missing} fewer than the source; they must have at least as many"


def main(root: Path) -> int:
    modules = read_modules(root, MEASURED)
    tests = sum(module.code_lines for module in read_modules(root, ("tests",)))
    broken = broken_rules(modules, tests)
    for rule in broken:
        print(rule)
    functions = [function for module in modules for function in module.functions]
    median, p90 = spread(functions)
    print(f"{len(modules)} modules, {len(functions)} functions: median {median:g} lines, nine in ten at most {p90}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
