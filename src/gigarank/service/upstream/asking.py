"""A request as questions to other servers, and their answers as its result.

Three ways: the exact prompts as token ids, portions of pieces for our own engine elsewhere, or texts for a server that makes
its own prompt. Knows no servers. Invariant: a document's questions are counted and cut as the engine counts and cuts them; of
texts, tokens are an estimate, and what would depend on them is refused.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from gigarank.engine.plan import ancestors
from gigarank.engine.portion import portion
from gigarank.engine.request import Encoded, Reads, check_pairs, check_reads, encode
from gigarank.engine.tally import Tally, not_finite, outcomes, sigmoid
from gigarank.engine.tokenizer import PromptTokenizer, unicode_problem
from gigarank.engine.work import Failure, Outcome, Result, Search, Timing, Unscored, Work
from gigarank.errors import UnsupportedParameter
from gigarank.service.upstream.client import Question, rerank_question, vllm_question
from gigarank.types import Pair, Score, Usage

QUESTION_TOKENS, QUESTION_PROMPTS = 8_192, 64
"""Of one question to a server: small enough to be balanced and put in order, and many for a batch."""
LEAST_TOKENS = 512  # of a question, where a request is divided among copies
_BYTES_PER_TOKEN = 4  # what is assumed of a text that nobody here has tokens for
_QUESTION_TEXTS = 64


class Asking(Protocol):
    """One request on its way. `questions` may be answered in any order."""

    @property
    def questions(self) -> Sequence[Question]: ...

    def usage(self) -> Usage:
        """Of all of it."""
        ...

    def take(self, question: int, numbers: Sequence[float]) -> None:
        """The answer to the question of that place."""
        ...

    def result(self, timing: Timing) -> Result:
        """What is answered by now."""
        ...


def check_work(work: Work) -> None:
    """What can be refused before anything is encoded. Raises InvalidInput."""
    check_reads(Reads(work.windows, work.max_document_tokens, work.max_query_tokens, work.truncate))
    check_pairs(_pairs(work))


class TokenAsking:
    """The exact prompts: pairs become the engine's own pieces, and each wanted piece a whole prompt."""

    def __init__(self, work: Work, tokenizer: PromptTokenizer) -> None:
        reads = Reads(work.windows, work.max_document_tokens, work.max_query_tokens, work.truncate)
        numbers = [number for search in work.searches for number in range(len(search.documents))]
        self._searches = work.searches
        self._suffix = len(tokenizer.suffix_ids)
        self._encoded = encode(_pairs(work), tokenizer, reads, numbers)
        self._tally = Tally(self._encoded)
        self._pieces = list(self._groups(self._encoded))
        self._computed: set[int] = set()
        self.questions = [self._question(group) for group in self._pieces]

    def usage(self) -> Usage:
        return self._encoded.usage(self._suffix)

    def take(self, question: int, numbers: Sequence[float]) -> None:
        for piece, logit in zip(self._pieces[question], numbers, strict=True):
            self._tally.take(piece, logit)
            self._computed.update((piece, *ancestors(self._encoded.pieces, piece)))

    def result(self, timing: Timing) -> Result:
        found = outcomes(self._searches, self._encoded, self._tally)
        return Result(found, self._encoded.usage(self._suffix, self._computed), timing)

    def _groups(self, encoded: Encoded) -> Iterable[list[int]]:
        return _grouped(encoded.readings, self._prompt_tokens)

    def _question(self, group: Sequence[int]) -> Question:
        return vllm_question([self._prompt(piece) for piece in group])

    def _prompt(self, piece: int) -> list[int]:
        ids = self._encoded.ids
        return [token for part in (*ancestors(self._encoded.pieces, piece), piece) for token in ids[part]]

    def _prompt_tokens(self, piece: int) -> int:
        pieces = self._encoded.pieces
        return sum(pieces[part].length for part in (*ancestors(pieces, piece), piece))


class PortionAsking(TokenAsking):
    """Pieces for our own engine elsewhere, of which there are `copies`: what a question's documents share it holds once."""

    def __init__(self, work: Work, tokenizer: PromptTokenizer, copies: int) -> None:
        self._copies = copies
        self._order = {"tier": work.tier, "priority": work.priority}
        super().__init__(work, tokenizer)

    def _groups(self, encoded: Encoded) -> Iterable[list[int]]:
        wanted = {piece: encoded.pieces[piece].length for piece in encoded.readings}
        return evenly(wanted, question_count(sum(wanted.values()), self._copies))

    def _question(self, group: Sequence[int]) -> Question:
        asked = portion(self._encoded, group)
        return Question({"portion": asked, **self._order}, len(group), asked.tokens)


def question_count(tokens: int, copies: int) -> int:
    """Into how many questions a request goes: as many for each copy, none beyond QUESTION_TOKENS, and for few tokens fewer
    than there are copies, since every question computes again what its documents share."""
    if tokens <= copies * QUESTION_TOKENS:
        return max(1, min(copies, tokens // LEAST_TOKENS))
    return copies * -(-tokens // (copies * QUESTION_TOKENS))


def evenly(pieces: Mapping[int, int], parts: int) -> Iterator[list[int]]:
    """The pieces, given with their tokens, in order and in at most `parts` runs of nearly as many tokens each."""
    total, before = sum(pieces.values()), 0
    runs: dict[int, list[int]] = {}
    for piece, tokens in pieces.items():
        runs.setdefault((2 * before + tokens) * parts // (2 * total), []).append(piece)
        before += tokens
    yield from runs.values()


def _grouped(pieces: Iterable[int], tokens_of: Callable[[int], int]) -> Iterator[list[int]]:
    """Runs of pieces in order, each of at most QUESTION_TOKENS and QUESTION_PROMPTS, or of a single longer one."""
    group: list[int] = []
    tokens = 0
    for piece in pieces:
        more = tokens_of(piece)
        if group and (tokens + more > QUESTION_TOKENS or len(group) == QUESTION_PROMPTS):
            yield group
            group, tokens = [], 0
        group.append(piece)
        tokens += more
    if group:
        yield group


class TextAsking:
    """Texts for a server that makes its own prompt. What would need tokens to be kept is refused."""

    def __init__(self, work: Work) -> None:
        _refuse_tokens(work)
        self._searches = work.searches
        self._outcomes: list[list[Outcome]] = [[Unscored(n) for n in range(len(search.documents))] for search in work.searches]
        self._places: list[tuple[int, list[int]]] = []
        self.questions: list[Question] = []
        for number, search in enumerate(work.searches):
            self._ask(number, search)

    def _ask(self, number: int, search: Search) -> None:
        readable = [place for place, document in enumerate(search.documents) if self._is_unicode(number, place, document)]
        for start in range(0, len(readable), _QUESTION_TEXTS):
            places = readable[start : start + _QUESTION_TEXTS]
            texts = [search.documents[place] for place in places]
            tokens = len(places) * _context(search) + sum(map(_estimate, texts))
            self.questions.append(rerank_question(search.query, texts, search.instruction, tokens))
            self._places.append((number, places))

    def _is_unicode(self, number: int, place: int, document: str) -> bool:
        if (problem := unicode_problem(document, f"documents[{place}]")) is not None:
            self._outcomes[number][place] = Failure(place, problem)
        return problem is None

    def usage(self) -> Usage:
        return self._usage(lambda outcome: not isinstance(outcome, Failure))

    def take(self, question: int, numbers: Sequence[float]) -> None:
        number, places = self._places[question]
        for place, logit in zip(places, numbers, strict=True):
            self._outcomes[number][place] = _outcome(place, self._searches[number].documents[place], logit)

    def result(self, timing: Timing) -> Result:
        found = tuple(tuple(some) for some in self._outcomes)
        return Result(found, self._usage(lambda outcome: isinstance(outcome, Score)), timing)

    def _usage(self, counts: Callable[[Outcome], bool]) -> Usage:
        """Of the documents whose outcome counts; the query of each search once."""
        documents = prefix = read = 0
        for search, some in zip(self._searches, self._outcomes, strict=True):
            texts = [search.documents[outcome.index] for outcome in some if counts(outcome)]
            documents += len(texts)
            prefix += _context(search) if texts else 0
            read += sum(map(_estimate, texts))
        return Usage(documents, prefix, read, prefix + read)


def _outcome(place: int, document: str, logit: float) -> Outcome:
    if not math.isfinite(logit):
        return Failure(place, not_finite(f"documents[{place}]", logit))
    return Score(place, sigmoid(logit), logit, _estimate(document), truncated=False)


def _refuse_tokens(work: Work) -> None:
    asked = {
        "max_tokens_per_doc": work.max_document_tokens is not None,
        "max_tokens_per_query": work.max_query_tokens is not None,
        "truncate": not work.truncate,
        "windows": work.windows is not None,
    }
    for param in (name for name, wanted in asked.items() if wanted):
        message = f"{param}: this model runs on a server that makes its own prompt, and cuts as it likes; leave it out"
        raise UnsupportedParameter(message, param=param)


def _pairs(work: Work) -> list[Pair]:
    return [Pair(search.query, text, search.instruction) for search in work.searches for text in search.documents]


def _context(search: Search) -> int:
    return _estimate(search.query) + _estimate(search.instruction or "")


def _estimate(text: str) -> int:
    """At least one token of a text that is not empty."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)
