"""Files of the repository that travel inside the wheel: the documentation and the clients' programs.

Invariant: an installed package and a source tree hold the same files; pyproject.toml says where the wheel puts them.
"""

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[3]
_PLACES = {"docs": _REPOSITORY / "docs", "clients": _REPOSITORY / "examples" / "clients"}


@cache
def folder(name: str) -> Path:
    """`name`: docs or clients."""
    packed = _HERE / "shipped" / name
    return packed if packed.is_dir() else _PLACES[name]


@cache
def text(name: str, file: str) -> str:
    return (folder(name) / file).read_text(encoding="utf-8")
