"""A model that other servers run, as this one knows it: its names and, where it makes the prompts, its tokenizer; no weights.

Invariant: what a TokenRemote asks is what the engine would have computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gigarank import catalogue
from gigarank.engine.json_file import read_json
from gigarank.engine.reranker import choose_prompt
from gigarank.engine.store import Checkpoint, locate
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.engine.work import Search, Work
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.service.backend import ModelState, State
from gigarank.service.hosting.specs import ModelSpec, parse_specs, require_unique
from gigarank.service.upstream.addresses import Kind
from gigarank.service.upstream.asking import Asking, TextAsking, TokenAsking
from gigarank.service.upstream.client import Question
from gigarank.types import DEFAULT_PAIR_TOKENS, EngineOptions

_CANARY = Work((Search("how do plants make food", ("by photosynthesis",)),))


class Remote(Protocol):
    """`read` once, on any thread, before all else but the names."""

    spec: ModelSpec

    @property
    def name(self) -> str: ...

    def read(self) -> None:
        """Raises UnknownModel, ModelUnavailable, CheckpointError."""
        ...

    def among(self, listed: Mapping[str, int], *, alone: bool) -> tuple[str, int] | None:
        """The model in a server's list: its name there, and its longest prompt. `alone`: this server offers no other."""
        ...

    def asking(self, work: Work, longest: int) -> Asking:
        """The request; no prompt is longer than `longest` tokens, unless that is 0. Raises GigarankError."""
        ...

    def canary(self) -> Question:
        """What a server is tried out with."""
        ...

    def state(self, state: State, failure: str, longest: int) -> ModelState: ...


class TokenRemote:
    """A reranker whose prompts are made here, as the engine makes them."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._known: _Known | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    def read(self) -> None:
        self._known = _Known.of(locate(self.spec.source, weights=False))

    def among(self, listed: Mapping[str, int], *, alone: bool) -> tuple[str, int] | None:
        wanted = {name.lower() for name in (*self.spec.names, self.spec.source)}
        for name, longest in listed.items():
            if name.lower() in wanted or (alone and len(listed) == 1):
                return name, longest
        return None

    def asking(self, work: Work, longest: int) -> Asking:
        return TokenAsking(work, self.words(longest))

    def words(self, longest: int) -> PromptTokenizer:
        """For prompts of at most `longest` tokens, unless that is 0."""
        return self._read().tokenizer(longest)

    def canary(self) -> Question:
        (question,) = self.asking(_CANARY, 0).questions
        return question

    def state(self, state: State, failure: str, longest: int) -> ModelState:
        known = self._read()
        return ModelState(
            self.spec.name,
            self.spec.aliases,
            "reranker",
            state,
            min(known.longest, longest or known.longest),
            known.created,
            known.description,
            known.repository,
            instruction=known.words.prompt.default_instruction,
            pinned=self.spec.pinned,
            prompt=known.words.prompt.id,
            failure=failure,
        )

    def _read(self) -> "_Known":
        if self._known is None:
            raise CheckpointError(f"model: {self.spec.name} is not read yet", param="model", received=self.spec.name)
        return self._known


@dataclass(frozen=True, slots=True)
class _Known:
    """What a checkpoint says of its prompts. `longest`: tokens of one."""

    words: PromptTokenizer
    longest: int
    created: int
    description: str
    repository: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "_Known":
        longest = _longest(checkpoint.folder)
        text, prompt = TextTokenizer.from_folder(checkpoint.folder), choose_prompt(checkpoint, EngineOptions())
        created = int((checkpoint.folder / "config.json").stat().st_mtime)
        known = checkpoint.model
        words, about = PromptTokenizer(text, prompt, longest), (known.summary, known.repository) if known else ("", "")
        return cls(words, longest, created, *about)

    def tokenizer(self, longest: int) -> PromptTokenizer:
        if not 0 < longest < self.longest:
            return self.words
        return PromptTokenizer(self.words.text, self.words.prompt, longest)


def _longest(folder: Path) -> int:
    told = read_json(folder / "config.json").get("max_position_embeddings")
    if not isinstance(told, int) or told < 1:
        raise CheckpointError(f"{folder}/config.json: max_position_embeddings must be a positive number, not {told!r}")
    return min(DEFAULT_PAIR_TOKENS, told)


class TextRemote:
    """A model of a server that makes its own prompts: what it reads is not known here."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    @property
    def name(self) -> str:
        return self.spec.name

    def read(self) -> None:
        """Nothing: there is no tokenizer."""

    def among(self, listed: Mapping[str, int], *, alone: bool) -> tuple[str, int] | None:
        return self.spec.source, 0

    def asking(self, work: Work, longest: int) -> Asking:
        return TextAsking(work)

    def canary(self) -> Question:
        (question,) = TextAsking(_CANARY).questions
        return question

    def state(self, state: State, failure: str, longest: int) -> ModelState:
        description = "its prompt is made by the server that runs it"
        spec = self.spec
        return ModelState(
            spec.name, spec.aliases, "reranker", state, DEFAULT_PAIR_TOKENS, 0, description, pinned=spec.pinned, failure=failure
        )


def parse_remotes(kind: Kind, words: Sequence[str], default: str) -> list[Remote]:
    """The models by the words of `--model`: as an engine's for vLLM; for others NAME, or NAME=THEIR-NAME. Raises InvalidInput,
    UnknownModel."""
    if kind == "vllm":
        specs = parse_specs(words, default)
        for spec in specs:
            refuse_embedder(spec)
        return [TokenRemote(spec) for spec in specs]
    plain = [_plain(word, pinned=(default or words[0]) in (word, word.partition("=")[0])) for word in words]
    require_unique(plain)
    return [TextRemote(spec) for spec in plain]


def _plain(word: str, *, pinned: bool) -> ModelSpec:
    name, _, source = word.partition("=")
    return ModelSpec(name, source or name, pinned=pinned)


def refuse_embedder(spec: ModelSpec) -> None:
    known = catalogue.find(spec.source)
    if known is not None and known.kind != "reranker":
        raise InvalidInput(
            f"model: {spec.name} is an embedder; other servers are asked for rerankers only", param="model", received=spec.name
        )
