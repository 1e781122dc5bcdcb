"""The reranker: texts in, typed scores out, best first.

The top of the engine: tokenize, plan, run, score. Knows prompts and scores; no files, no HTTP. Invariant: every document of
a request gets a score, and a pair's score does not depend on the others'.
"""

import copy
import os
import uuid
from collections.abc import Sequence
from functools import cached_property

from gigarank import catalogue
from gigarank.engine.fusion import check_first_stage, order_key, with_fused
from gigarank.engine.identity import fingerprint_of, quick_fingerprint
from gigarank.engine.json_file import read_json
from gigarank.engine.loading import Loaded, checked_options, load_checkpoint
from gigarank.engine.request import Encoded, Reads, check_pairs, check_reads, encode
from gigarank.engine.score_cache import KeptScores, ScoreCache
from gigarank.engine.scoring import Scores
from gigarank.engine.store import Checkpoint, locate, with_adapter
from gigarank.engine.tally import not_finite
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer, require_list, require_whole
from gigarank.errors import InvalidInput
from gigarank.model.config import ModelConfig
from gigarank.prompt import QWEN3_V1, PromptFormat, prompt_format
from gigarank.types import EngineOptions, FirstStage, Numerics, Pair, Progress, Ranking, Score, Usage, Windows

Pairs = Sequence[Pair | tuple[str, str]]


class Reranker:
    """A loaded reranker. Thread-safe: batches of all threads run one after the other."""

    def __init__(self, loaded: Loaded, tokenizer: PromptTokenizer) -> None:
        self.runner = loaded.runner
        self.tokenizer = tokenizer
        self.answer = loaded.runner.decoder.weights.answer_vector(tokenizer.yes_id, tokenizer.no_id)
        self.name: str = loaded.name
        self.prompt: PromptFormat = tokenizer.prompt
        self.numerics: Numerics = loaded.numerics
        self.config: ModelConfig = loaded.config
        self.checkpoint: Checkpoint | None = loaded.checkpoint
        self.kept_scores: KeptScores | None = None

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = "nano",
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        adapter: str | os.PathLike[str] | None = None,
        options: EngineOptions | None = None,
    ) -> "Reranker":
        """Loads 'nano', a hub id such as 'Qwen/Qwen3-Reranker-0.6B', a checkpoint folder, or an adapter's folder with its base.

        `device`: auto, cpu, cuda. `dtype`: auto, fp32, bf16, fp16, fp64, int8. `adapter`: a LoRA folder as peft writes it,
        merged into the weights in fp32. Raises UnknownModel, ModelUnavailable, CheckpointError, InvalidInput,
        DeviceUnavailable.
        """
        chosen = checked_options(options)
        checkpoint = with_adapter(locate(model, revision=revision), adapter)
        _refuse_embedder(checkpoint)
        prompt = choose_prompt(checkpoint, chosen)
        text = TextTokenizer.from_folder(checkpoint.folder)
        loaded = load_checkpoint(checkpoint, chosen, device, dtype)
        made = cls(loaded, PromptTokenizer(text, prompt, loaded.max_pair_tokens))
        if chosen.score_cache:
            made.keep_scores(ScoreCache(chosen.score_cache))
        return made

    @cached_property
    def fingerprint(self) -> str:
        """What the weights, the tokenizer and the adapter are, in 64 hexadecimal digits; "" for a model without files.
        Reads the whole files once."""
        return fingerprint_of(self.checkpoint)

    @property
    def max_pair_tokens(self) -> int:
        """The longest prompt, template included, in tokens; a longer document is cut at its end, or read in windows."""
        return self.tokenizer.max_pair_tokens

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
        """The documents of one query, best first; equal ones keep the order of the request.

        `instruction` None is the prompt's default. `top_n` cuts the result, not the work. Where the documents
        come with the scores of the search that found them, the order is that of both together. Raises InvalidInput,
        QueryTooLong, NonFiniteScore.
        """
        _check_top_n(top_n)
        found, texts = (documents, documents.documents) if isinstance(documents, FirstStage) else (None, documents)
        require_list(texts, "documents")
        if found is not None:
            check_first_stage(found.scores, found.weight, len(texts))
        scores, usage = self._score([Pair(query, text, instruction) for text in texts], windows, progress)
        if found is not None:
            scores = with_fused(scores, found.scores, found.weight)
        best = sorted(scores, key=lambda score: -order_key(score))
        return Ranking(self.name, query, tuple(best[:top_n]), usage)

    def score(
        self,
        pairs: Pairs,
        *,
        instruction: str | None = None,
        windows: Windows | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """The score of each pair, in the order given. A pair is (query, document) or a Pair with its own instruction;
        `instruction` holds for the pairs that have none. Raises as `rank`."""
        require_list(pairs, "pairs")
        return self._score([_as_pair(pair, index, instruction) for index, pair in enumerate(pairs)], windows, progress)[0]

    def keep_scores(self, cache: ScoreCache) -> None:
        """From now on scores are kept in `cache`, and what it holds of this model's is not computed again. Other models may
        keep theirs in it, and the same model when it is loaded anew."""
        source = quick_fingerprint(self.checkpoint, "scores 1") if self.checkpoint is not None else uuid.uuid4().hex
        numerics, tokens = self.numerics, self.tokenizer
        how = (numerics.device, numerics.dtype, numerics.linear, numerics.attention, tokens.yes_id, tokens.no_id)
        self.kept_scores = KeptScores(cache, f"{source} {how}")

    def without_kept_scores(self) -> "Reranker":
        """The same model, which computes every score."""
        other = copy.copy(self)
        other.kept_scores = None
        return other

    def scores_of(self, encoded: Encoded) -> Scores:
        """Where the scores of a request come together: those that are kept are there at once, and their pieces are not
        wanted any more."""
        return Scores(encoded, self.answer, self.kept_scores)

    def _score(self, pairs: Sequence[Pair], windows: Windows | None, progress: Progress | None) -> tuple[list[Score], Usage]:
        reads = Reads(windows)
        check_reads(reads)
        check_pairs(pairs)
        encoded = encode(pairs, self.tokenizer, reads)
        for error in encoded.failures.values():
            raise error
        scores = self.scores_of(encoded)
        done = sum(piece in scores.recalled for piece in encoded.readings)
        if progress is not None and done:
            progress(done * len(pairs) // len(encoded.readings), len(pairs))
        for pieces, hidden in self.runner.run(encoded.pieces, encoded.ids):
            scores.absorb(pieces, hidden)
            for pair, logit in scores.broken.items():
                raise not_finite(f"documents[{pair}]", logit)
            done += len(pieces)
            if progress is not None:
                progress(done * len(pairs) // len(encoded.readings), len(pairs))
        found = [score for pair in range(len(pairs)) if (score := scores.score(pair)) is not None]
        return found, encoded.usage(len(self.tokenizer.suffix_ids))


def _check_top_n(top_n: int | None) -> None:
    if top_n is None:
        return
    require_whole(top_n, "top_n")
    if top_n < 1:
        raise InvalidInput(f"top_n: must be at least 1, not {top_n}", param="top_n", limit=1, received=top_n)


def _refuse_embedder(checkpoint: Checkpoint) -> None:
    if (checkpoint.folder / "1_Pooling").is_dir():  # the layout's own mark of a model that gives vectors
        raise InvalidInput(
            f"model: {checkpoint.name} is an embedder, its folder says (1_Pooling), not a reranker; load it with Embedder.load",
            param="model",
            received=checkpoint.name,
        )
    if checkpoint.model is not None and checkpoint.model.kind != "reranker":
        raise InvalidInput(
            f"model: {checkpoint.name} is an {checkpoint.model.kind}, not a reranker; load it with Embedder.load",
            param="model",
            received=checkpoint.name,
        )


def choose_prompt(checkpoint: Checkpoint, options: EngineOptions) -> PromptFormat:
    """The asked format, else the one the checkpoint's gigarank.json names, else the catalogue's, else the canonical one."""
    if options.prompt is not None:
        return prompt_format(options.prompt)
    note = checkpoint.folder / "gigarank.json"
    if note.exists() and "prompt" in (noted := read_json(note)):
        return prompt_format(str(noted["prompt"]))
    known: catalogue.Model | None = checkpoint.model
    return prompt_format(known.prompt) if known is not None else QWEN3_V1


def _as_pair(pair: Pair | tuple[str, str], index: int, instruction: str | None) -> Pair:
    if isinstance(pair, Pair):
        return Pair(pair.query, pair.document, instruction if pair.instruction is None else pair.instruction)
    require_list(pair, f"pairs[{index}]")
    if len(pair) != 2:
        raise InvalidInput(
            f"pairs[{index}]: must be (query, document), not {len(pair)} values",
            param=f"pairs[{index}]",
            limit=2,
            received=len(pair),
        )
    return Pair(pair[0], pair[1], instruction)
