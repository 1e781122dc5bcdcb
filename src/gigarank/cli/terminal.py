"""What rich draws, as text for the terminal of standard output: its width and colours, and nothing written yet.

Knows nothing of what is drawn. Invariant: widths count cells, two for a wide character.
"""

import io
from typing import Any

from rich.cells import cell_len
from rich.console import Console


def as_text(renderable: Any, width: int | None = None) -> str:
    """`renderable` as a terminal shows it; `width` in cells, None for that of the terminal."""
    drawn = io.StringIO()
    Console(file=drawn, force_terminal=True, width=width, highlight=False, legacy_windows=False).print(renderable)
    return drawn.getvalue()


def cut_left(text: str, cells: int) -> str:
    """The end of `text`, in at most `cells` cells, with an ellipsis for what is missing."""
    if cell_len(text) <= cells:
        return text
    while text and cell_len(text) > cells - 1:
        text = text[1:]
    return "…" + text
