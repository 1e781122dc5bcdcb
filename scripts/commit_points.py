"""The one place that commits, checked: who begins, commits or rolls back a transaction of the database elsewhere is told.

Reads source text with `ast`, imports nothing of it. A call counts by its name, whatever it is called on, and so does SQL that
says it. Invariant: exit status 0 means that under `src/gigarank/service` only `db.py` ends a transaction.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = "src/gigarank/service"
ALLOWED = "db.py"
_CALLS = {"begin", "begin_nested", "begin_twophase", "commit", "rollback", "sessionmaker", "Session", "AsyncSession"}
_ENDS = "BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE"
_SQL = re.compile(rf"\s*({_ENDS})\b\s*(;|$|TRANSACTION|WORK|IMMEDIATE|EXCLUSIVE|TO\b)", re.IGNORECASE)


def commit_points(source: str) -> Iterator[tuple[int, str]]:
    """(line, what stands there)"""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (name := _name(node.func)) in _CALLS:
            yield node.lineno, f"{name}()"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value):
            yield node.lineno, node.value.strip()


def _name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def main(root: Path) -> int:
    folder, found = root / FOLDER, 0
    files = sorted(folder.rglob("*.py"))
    for path in files:
        if path.relative_to(folder).as_posix() == ALLOWED:
            continue
        for line, what in commit_points(path.read_text(encoding="utf-8")):
            print(f"{path.relative_to(root).as_posix()}:{line}: {what}; only {FOLDER}/{ALLOWED} commits")
            found += 1
    print(f"{len(files)} modules, one commit point" if not found else f"{found} commit points too many")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))
