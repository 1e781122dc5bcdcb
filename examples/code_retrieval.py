"""Questions about code, answered by functions of Python's own library: `python examples/code_retrieval.py [MODEL]`.

nano is small, and its order shows it; the official models are made for this.
"""

import calendar
import colorsys
import glob
import inspect
import shutil
import statistics
import sys
import textwrap

from gigarank import Reranker

INSTRUCTION = "Given a question about programming, retrieve the Python function that does it"
QUESTIONS = ("Is a given year a leap year?", "Convert a colour from red, green, blue to hue, saturation, value")
FUNCTIONS = (
    calendar.isleap,
    colorsys.rgb_to_hsv,
    glob.escape,
    shutil.copytree,
    shutil.which,
    statistics.median,
    statistics.mode,
    textwrap.dedent,
    textwrap.indent,
    textwrap.shorten,
)


def main() -> None:
    reranker = Reranker.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
    sources = [inspect.getsource(function) for function in FUNCTIONS]
    for question in QUESTIONS:
        print(question)
        for score in reranker.rank(question, sources, instruction=INSTRUCTION, top_n=3):
            print(f"  {score.relevance_score:.3f}  {FUNCTIONS[score.index].__qualname__}")


if __name__ == "__main__":
    main()
