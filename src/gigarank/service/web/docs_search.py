"""Search in the documentation: sections that share words with the question, put in order by our own reranker.

Knows sections and a call. Invariant: with no reranker that is ready, or no allowance left, the words' order stands and the page
says so.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from gigarank.engine.words import words
from gigarank.errors import GigarankError
from gigarank.service.call import Call
from gigarank.service.rerank.request import read_request
from gigarank.service.rerank.service import find_model, rerank
from gigarank.service.web.docs_text import Section, sections
from gigarank.service.web.plays import admit

CANDIDATES, SHOWN = 16, 8
_CHARACTERS = 600
_DEADLINE_S = 5.0
_PRIORITY = 20
_INSTRUCTION = "Given a question about a program, retrieve the section of its documentation that answers it"


@dataclass(frozen=True, slots=True)
class Found:
    """`by`: the model that ordered them, or "" where the words did."""

    sections: tuple[Section, ...]
    by: str = ""


@cache
def _index() -> tuple[Counter[str], ...]:
    return tuple(Counter(words(f"{one.title} {one.title} {one.text}")) for one in sections())


def candidates(question: str) -> list[Section]:
    """Sections that share a word with it, rare words counting more; best first."""
    counts, asked = _index(), set(words(question))
    rare = {word: math.log(1 + len(counts) / (1 + sum(word in one for one in counts))) for word in asked}
    scores = [sum(rare[word] * one[word] / (one[word] + 0.3 + one.total() / 200) for word in asked) for one in counts]
    best = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [sections()[place] for place in best[:CANDIDATES] if scores[place] > 0]


async def search(call: Call, question: str) -> Found:
    found = candidates(question)
    if not found:
        return Found(())
    try:
        return await _reranked(call, question, found)
    except GigarankError:
        return Found(tuple(found[:SHOWN]))


async def _reranked(call: Call, question: str, found: Sequence[Section]) -> Found:
    """Raises GigarankError where nobody can put them in order now."""
    await admit(call, 1)
    texts = [f"{one.title}\n{(one.prose or one.text)[:_CHARACTERS]}" for one in found]
    urgency = replace(call.urgency, priority=_PRIORITY, deadline=call.received + _DEADLINE_S)
    body = {"query": question, "documents": texts, "instruction": _INSTRUCTION, "model": find_model(call, None).name}
    made = replace(call, body=body, urgency=urgency)
    answer = await rerank(made, read_request(made))
    return Found(tuple(found[one.index] for one in answer.results[:SHOWN]), answer.model)
