"""From a model's name to a decoder on its device: locate, read the config, choose the numerics, load strictly.

Shared by the reranker and the embedder. Knows files; runs nothing. Invariant: what it returns has passed every check of the
model layer.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from gigarank.engine import adapters
from gigarank.engine.json_file import read_json
from gigarank.engine.numerics import Matrices, choose_numerics, placement
from gigarank.engine.plan import Limits
from gigarank.engine.quantized_cache import QuantizedCache
from gigarank.engine.runner import Runner
from gigarank.engine.store import Checkpoint, cache_folder
from gigarank.engine.tokenizer import require_kind, require_whole
from gigarank.errors import InvalidInput
from gigarank.model.config import ModelConfig, parse_config
from gigarank.model.decoder import Decoder
from gigarank.model.weights import TensorFiles, TensorSource, load_weights
from gigarank.types import DEFAULT_PAIR_TOKENS, EngineOptions, Numerics


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to run. `checkpoint` is where it came from; None for tensors that never were a file."""

    name: str
    config: ModelConfig
    numerics: Numerics
    runner: Runner
    max_pair_tokens: int
    checkpoint: Checkpoint | None = None


def load_checkpoint(checkpoint: Checkpoint, options: EngineOptions, device: str, dtype: str) -> Loaded:
    """Loads a checkpoint folder, its adapter merged in. Raises CheckpointError, UnsupportedArchitecture, InvalidInput,
    DeviceUnavailable."""
    config = read_config(checkpoint.folder)
    source: TensorSource = TensorFiles(checkpoint.folder)
    if checkpoint.adapter is not None:
        config, source = adapters.merged(source, config, checkpoint.adapter, checkpoint.model)
    numerics, matrices = choose_numerics(device, dtype), None
    if numerics.dtype == "int8" and options.keep_quantized:
        matrices = QuantizedCache(cache_folder(), checkpoint).matrix
    loaded = assemble(checkpoint.name, config, source, options, numerics, matrices)
    return replace(loaded, checkpoint=checkpoint)


def assemble(
    name: str,
    config: ModelConfig,
    source: TensorSource,
    options: EngineOptions,
    numerics: Numerics,
    matrices: Matrices | None = None,
) -> Loaded:
    """A model from tensors wherever they come from: files, or random weights in tests and benchmarks. `matrices`: where its
    quantised ones come from."""
    limits, longest = _limits(options), pair_limit(options, config)
    weights = load_weights(source, config, placement(numerics, matrices))
    decoder = Decoder(config, weights, longest, padded=numerics.attention == "padded")
    return Loaded(name, config, numerics, Runner(decoder, limits), longest)


def checked_options(options: EngineOptions | None) -> EngineOptions:
    """The options, or all defaults. Raises InvalidInput for what are none, for counts that are no whole numbers, and
    for a negative score_cache."""
    if options is None:
        return EngineOptions()
    require_kind(options, EngineOptions, "EngineOptions", "options")
    for name in ("max_pair_tokens", "max_batch_tokens", "max_kept_tokens", "score_cache"):
        if (value := getattr(options, name)) is not None or name != "max_pair_tokens":
            require_whole(value, name)
    if options.score_cache < 0:
        raise _out_of_range("score_cache", 0, options.score_cache, "at least")
    return options


def read_config(folder: Path) -> ModelConfig:
    return parse_config(read_json(folder / "config.json"))


def pair_limit(options: EngineOptions, config: ModelConfig) -> int:
    """The longest prompt in tokens. Raises InvalidInput for a limit that the model does not reach."""
    longest = config.max_position_embeddings
    if options.max_pair_tokens is None:
        return min(DEFAULT_PAIR_TOKENS, longest)
    if options.max_pair_tokens > longest:
        raise _out_of_range("max_pair_tokens", longest, options.max_pair_tokens, "at most")
    if options.max_pair_tokens < 1:
        raise _out_of_range("max_pair_tokens", 1, options.max_pair_tokens, "at least")
    return options.max_pair_tokens


def _limits(options: EngineOptions) -> Limits:
    if options.max_batch_tokens < 1:
        raise _out_of_range("max_batch_tokens", 1, options.max_batch_tokens, "at least")
    if options.max_kept_tokens < 0:
        raise _out_of_range("max_kept_tokens", 0, options.max_kept_tokens, "at least")
    return Limits(options.max_batch_tokens, options.max_kept_tokens)


def _out_of_range(name: str, limit: int, received: int, word: str) -> InvalidInput:
    return InvalidInput(f"{name}: must be {word} {limit}, not {received}", param=name, limit=limit, received=received)
