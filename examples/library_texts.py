"""What the functions of Python's own library say of themselves: real texts for the examples of search, on every machine."""

import heapq
import inspect
import math
import random
import shutil
import statistics
import textwrap

MODULES = (heapq, math, random, shutil, statistics, textwrap)


def library_texts() -> dict[str, str]:
    """The first paragraph of the documentation of every public function, by its name."""
    texts = {}
    for module in MODULES:
        for name in module.__all__ if hasattr(module, "__all__") else sorted(vars(module)):
            text = inspect.getdoc(getattr(module, name))
            if callable(getattr(module, name)) and not name.startswith("_") and text:
                texts[f"{module.__name__}.{name}"] = text.split("\n\n")[0]
    return texts
