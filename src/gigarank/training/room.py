"""Whether every query leaves room for a document, asked before anything is trained.

Knows the engine's tokenizer and rule; no model. Invariant: what passes here, the engine's rule refuses at no step.
"""

from collections.abc import Sequence
from pathlib import Path

from gigarank import catalogue
from gigarank.engine.adapters import is_adapter
from gigarank.engine.loading import read_config
from gigarank.engine.presence import present
from gigarank.engine.request import Reads, encode
from gigarank.engine.reranker import choose_prompt
from gigarank.engine.store import Checkpoint, locate
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.errors import BadFile, QueryTooLong
from gigarank.training.examples import place_of
from gigarank.training.recipe import Base, Stage
from gigarank.training.rows import Row
from gigarank.types import EngineOptions, Pair

_AT_ONCE = 1_000


def prompts_of(checkpoint: Checkpoint, text: TextTokenizer) -> PromptTokenizer:
    """Of a reranker, with all of the model's length."""
    longest = read_config(checkpoint.folder).max_position_embeddings
    return PromptTokenizer(text, choose_prompt(checkpoint, EngineOptions()), longest)


def prompts_if_here(base: Base) -> PromptTokenizer | None:
    """None for a model that would have to be fetched first, and for what is no reranker."""
    folder, known = Path(base.name).expanduser(), catalogue.find(base.name)
    here = not is_adapter(folder) if folder.is_dir() else base.revision is None and known is not None and present(known)
    if base.kind != "reranker" or not here:
        return None
    checkpoint = locate(base.name)
    return prompts_of(checkpoint, TextTokenizer.from_folder(checkpoint.folder))


def reads_of(stage: Stage) -> Reads:
    return Reads(max_document_tokens=stage.max_document_tokens, max_query_tokens=stage.max_query_tokens)


def check_room(stage: Stage, rows: Sequence[Sequence[Row]], tokenizer: PromptTokenizer) -> None:
    """Raises BadFile that names file and line of a row whose instruction and query leave no token for a document."""
    reads = reads_of(stage)
    for data, file in zip(stage.data, rows, strict=True):
        for start in range(0, len(file), _AT_ONCE):
            some = file[start : start + _AT_ONCE]
            if _problem(some, tokenizer, reads) is None:
                continue
            for number, row in enumerate(some, start):
                if (problem := _problem([row], tokenizer, reads)) is not None:
                    raise BadFile(
                        f"{place_of(data.path, number)}: {problem.message}",
                        param="query",
                        limit=problem.limit,
                        received=problem.received,
                    )


def _problem(rows: Sequence[Row], tokenizer: PromptTokenizer, reads: Reads) -> QueryTooLong | None:
    try:
        encode([Pair(row.query, "", row.instruction) for row in rows], tokenizer, reads)
    except QueryTooLong as error:
        return error
    return None
