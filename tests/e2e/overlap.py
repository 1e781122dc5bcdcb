"""gigarank's command line with a stand-in for the model, run as a program: `python overlap.py rank QUERY FILES`.

`Overlap` ranks by the share of the query's words that a document holds. It reads at most `--max-tokens` words of a document,
so that truncation and windows show as they do with a model, and can be slow on purpose: OVERLAP_SECONDS a document. `Lengths`
makes a vector of each text's length. Everything else is the real program.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import typer
from numpy.typing import NDArray

from gigarank.cli import failures
from gigarank.cli.command import as_command
from gigarank.cli.embed import EmbedOptions, embed
from gigarank.cli.loading import LoadOptions
from gigarank.cli.rank import RankOptions, rank
from gigarank.engine.fusion import order_key, with_fused
from gigarank.prompt import NANO_V1
from gigarank.types import FirstStage, Numerics, Progress, Ranking, Score, Usage, Window, Windows


class Overlap:
    """Deterministic, and no model: logit = 4 * share of the query's words - 2."""

    prompt = NANO_V1
    numerics = Numerics("cpu", "fp32", "none", "none", True, 0.0, ("words are counted, not computed",))

    def __init__(self, options: LoadOptions) -> None:
        self.name = options.model
        self._limit = options.max_tokens or 1_000

    def rank(
        self,
        query: str,
        documents: Sequence[str] | FirstStage,
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        windows: Windows | None = None,
        progress: Progress | None = None,
    ) -> Ranking:
        found, texts = (documents, documents.documents) if isinstance(documents, FirstStage) else (None, documents)
        scores = []
        for index, document in enumerate(texts):
            time.sleep(float(os.environ.get("OVERLAP_SECONDS", "0")))
            scores.append(max(self._scores(query, index, document, windows), key=lambda score: score.logit))
            if progress:
                progress(index + 1, len(texts))
        scores = scores if found is None else with_fused(scores, found.scores, found.weight)
        scores.sort(key=lambda score: -order_key(score))
        tokens = sum(score.tokens for score in scores)
        usage = Usage(len(texts), len(query.split()), tokens, tokens + len(query.split()))
        return Ranking(self.name, query, tuple(scores[:top_n]), usage)

    def _scores(self, query: str, index: int, document: str, windows: Windows | None) -> Iterator[Score]:
        words = document.lower().split()
        starts = list(range(0, len(words), self._limit)) or [0]
        if windows is None:
            yield self._score(query, index, words[: self._limit], truncated=len(starts) > 1)
            return
        read = starts[: windows.max_windows]
        for number, start in enumerate(read):
            stop = min(start + self._limit, len(words))
            score = self._score(query, index, words[start:stop], truncated=len(read) < len(starts))
            yield replace(score, window=Window(number, len(read), start, stop)) if len(starts) > 1 else score

    def _score(self, query: str, index: int, words: list[str], *, truncated: bool) -> Score:
        wanted = query.lower().split()
        logit = 4.0 * sum(word in words for word in wanted) / len(wanted) - 2.0
        return Score(index, 1 / (1 + 2.718281828459045**-logit), logit, len(words), truncated)


class Lengths:
    """[characters, words, 1 for a query], cut to `dimensions`."""

    name = "lengths"
    numerics = Overlap.numerics

    def embed(
        self,
        queries: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        texts = documents if queries is None else queries
        assert texts is not None
        rows = [[len(text), len(text.split()), queries is not None] for text in texts]
        return np.array(rows, dtype=np.float32)[:, :dimensions]


app = typer.Typer(cls=failures.Commands)
app.command("rank")(as_command(RankOptions, lambda options: rank(options, load=Overlap)))
app.command("embed")(as_command(EmbedOptions, lambda options: embed(options, load=lambda _: Lengths())))

if __name__ == "__main__":
    sys.exit(failures.run(app))
