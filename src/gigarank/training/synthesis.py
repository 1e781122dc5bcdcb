"""Queries for documents that have none: two questions a document to a chat model, then a filter by similarity.

What was answered goes into a journal, a line a document, written through before the next is asked for: a run that is killed
goes on where it was. Knows the prompts, a chat endpoint and an embedder that the caller passes in. Invariant: a row is made
only from a query whose cosine with its document is above the threshold (arXiv 2506.05176 uses 0.7), where an embedder is given.
"""

import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gigarank.errors import InvalidInput, ModelUnavailable
from gigarank.training.chat import Chat, NoAnswer
from gigarank.training.lines import cut_torn_line, read_lines
from gigarank.training.mining import Embeds
from gigarank.training.rows import Row
from gigarank.training.synthesis_prompts import (
    CHARACTERS,
    configuration_prompt,
    query_prompt,
    read_configuration,
    read_query,
)
from gigarank.types import Progress

_OFFERED = 5  # characters to choose from, as in the paper
_ANSWERS = 2  # times that an answer outside what was offered is asked for again


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """`languages` of the queries, drawn evenly; `words` the lengths to draw from; `threshold` the least cosine; `concurrency`
    questions under way at once; `most_failures` in a row end the run. Everything drawn follows from `seed` and the document."""

    languages: Sequence[str] = ("English",)
    words: Sequence[int] = (4, 8, 12, 20)
    characters: Sequence[str] = CHARACTERS
    instruction: str | None = None
    threshold: float = 0.7
    concurrency: int = 8
    most_failures: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("languages", "words", "characters"):
            if not getattr(self, name):
                raise InvalidInput(f"{name}: at least one is needed", param=name, limit=1, received=0)
        if self.concurrency < 1:
            raise InvalidInput("concurrency: at least 1", param="concurrency", limit=1, received=self.concurrency)


@dataclass(slots=True)
class SynthesisReport:
    """Documents: `asked` in this run, `known` from the journal, `failed` with the first reason; `dropped` by the filter."""

    asked: int = 0
    known: int = 0
    failed: int = 0
    reason: str = ""
    kept: int = 0
    dropped: int = 0
    cosines: list[float] = field(default_factory=list)


def synthesise(
    documents: Sequence[str],
    chat: Chat,
    journal: Path,
    options: SynthesisOptions,
    report: SynthesisReport,
    progress: Progress | None = None,
) -> None:
    """Asks for a query a document and notes each in the journal. What failed is not noted: the next run asks again.

    Raises ModelUnavailable where the endpoint refuses or `most_failures` in a row got no answer, OSError for a full disk.
    """
    known = set(_known(journal))
    distinct = {_key(document, options, chat.endpoint.model): document for document in documents}
    missing = [(key, document) for key, document in distinct.items() if key not in known]
    report.known = len(distinct) - len(missing)
    in_a_row = 0
    with journal.open("a", encoding="utf-8") as file:
        for done, (key, found) in enumerate(_answers(missing, chat, options), 1):
            if isinstance(found, NoAnswer):
                report.failed, report.reason, in_a_row = report.failed + 1, report.reason or str(found), in_a_row + 1
                if in_a_row >= options.most_failures:
                    message = f"{chat.endpoint.url}: {in_a_row} documents in a row got no query; {found}"
                    raise ModelUnavailable(message, param="url", limit=options.most_failures, received=in_a_row)
                continue
            in_a_row = 0
            report.asked += 1
            file.write(json.dumps({"document": key, **found}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
            if progress is not None:
                progress(report.known + done, len(distinct))


def rows_of(
    documents: Sequence[str],
    journal: Path,
    options: SynthesisOptions,
    report: SynthesisReport,
    embedder: Embeds | None,
    *,
    model: str,
) -> Iterator[Row]:
    """Rows of one positive each, for the documents that the journal knows a query for, by `model` and as `options` ask, and the
    filter lets pass."""
    answers = _known(journal)
    for document in dict.fromkeys(documents):
        if (answer := answers.get(_key(document, options, model))) is None:
            continue
        query = str(answer["query"])
        if embedder is not None:
            cosine = float((embedder.embed(queries=[query]) @ embedder.embed(documents=[document]).T)[0, 0])
            report.cosines.append(cosine)
            if not cosine > options.threshold:
                report.dropped += 1
                continue
        report.kept += 1
        yield Row(
            query=query,
            documents=(document,),
            labels=(1.0,),
            scores=None,
            instruction=options.instruction,
            task="synthetic",
            language=str(answer["language"]),
        )


def _answers(
    missing: Iterable[tuple[str, str]], chat: Chat, options: SynthesisOptions
) -> Iterator[tuple[str, Mapping[str, Any] | NoAnswer]]:
    """Answers as they come, never more than `concurrency` questions ahead of what was taken."""
    waiting = iter(missing)
    running: dict[Future[Mapping[str, Any] | NoAnswer], str] = {}
    with ThreadPoolExecutor(options.concurrency) as pool:
        try:
            while True:
                while len(running) < options.concurrency and (entry := next(waiting, None)) is not None:
                    running[pool.submit(_ask, entry[1], chat, options)] = entry[0]
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ask(document: str, chat: Chat, options: SynthesisOptions) -> Mapping[str, Any] | NoAnswer:
    """One document's configuration and query."""
    drawn = random.Random(f"{options.seed} {_digest(document)}")
    characters = drawn.sample(list(options.characters), min(_OFFERED, len(options.characters)))
    words, language = drawn.choice(list(options.words)), drawn.choice(list(options.languages))
    said = ""
    for _ in range(_ANSWERS):
        seed = drawn.randrange(1 << 31)
        try:
            chosen = read_configuration(chat.ask(configuration_prompt(document, characters), seed), characters)
            query = read_query(chat.ask(query_prompt(document, chosen, words, language), seed))
        except ValueError as error:
            said = str(error)
        except NoAnswer as error:
            return error
        else:
            asked = {"character": chosen.character, "type": chosen.question_type, "difficulty": chosen.difficulty}
            return {"query": query, **asked, "words": words, "language": language, "model": chat.endpoint.model}
    return NoAnswer(f"the answer could not be used: {said}")


def _known(journal: Path) -> dict[str, Mapping[str, Any]]:
    """Answers by key. The last line may be torn, where a run was killed in the middle of it: it is cut off."""
    if not journal.exists():
        return {}
    cut_torn_line(journal)
    return {line.text("document"): line.values for line in read_lines(journal) if line.text("query")}


def _key(document: str, options: SynthesisOptions, model: str) -> str:
    """Of all that the question depends on: with another language or model it is asked anew."""
    asked = (document, list(options.languages), list(options.words), list(options.characters), options.seed, model)
    return _digest(json.dumps(asked))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
