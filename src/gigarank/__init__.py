"""gigarank: exact, fast reranking with the Qwen3-Reranker models.

Public names are resolved when they are first used, so that importing gigarank costs nothing and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gigarank.engine.embedder import Embedder
    from gigarank.engine.reranker import Reranker
    from gigarank.errors import GigarankError
    from gigarank.types import EngineOptions, FirstStage, Numerics, Pair, Ranking, Score, Usage, Window, Windows

__version__ = "0.1.0"

_HOMES = {
    "Embedder": "gigarank.engine.embedder",
    "EngineOptions": "gigarank.types",
    "FirstStage": "gigarank.types",
    "GigarankError": "gigarank.errors",
    "Numerics": "gigarank.types",
    "Pair": "gigarank.types",
    "Ranking": "gigarank.types",
    "Reranker": "gigarank.engine.reranker",
    "Score": "gigarank.types",
    "Usage": "gigarank.types",
    "Window": "gigarank.types",
    "Windows": "gigarank.types",
}

__all__ = [
    "Embedder",
    "EngineOptions",
    "FirstStage",
    "GigarankError",
    "Numerics",
    "Pair",
    "Ranking",
    "Reranker",
    "Score",
    "Usage",
    "Window",
    "Windows",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gigarank' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
