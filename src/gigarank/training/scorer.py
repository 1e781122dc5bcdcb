"""The model as training needs it: transformers' decoder, with LoRA or whole, that reads packed examples.

Knows transformers and peft; no data and no loss. Only the rows of the answer words are computed of the head, or all of it for a
loss over the vocabulary. Invariant: without training it gives the engine's scores (tests/parity/test_train_scorer.py).
"""

import errno
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gigarank.engine.adapters import NOTE, adapter_folder
from gigarank.engine.json_file import read_json
from gigarank.engine.layout import write_json
from gigarank.engine.loading import read_config
from gigarank.engine.store import Checkpoint
from gigarank.errors import CheckpointError, InvalidInput, NonFiniteScore
from gigarank.model.adapter import parse_adapter
from gigarank.model.config import ModelConfig
from gigarank.model.layer_stack import stack_of, stacked_config
from gigarank.training import attention
from gigarank.training.packing import block_mask
from gigarank.training.recipe import Lora, Recipe
from gigarank.training.sharding import is_sharded, set_whole_state

try:
    from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
    from peft.tuners.lora import LoraLayer
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error

ADAPTER_WEIGHTS, ADAPTER_CONFIG, WHOLE_WEIGHTS = "adapter_model.safetensors", "adapter_config.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Answers:
    """The ids of the answer words, and whether a loss wants the whole vocabulary."""

    yes: int
    no: int
    whole: bool


class Scorer(nn.Module):
    """`causal`: transformers' model, wrapped by peft where there is LoRA. `answers` None: an embedder."""

    def __init__(self, causal: Any, answers: Answers | None) -> None:
        super().__init__()
        self.causal = causal
        self.answers = answers

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, blocks: Tensor, rows: Tensor, columns: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """A reranker's answers (n, 2), no and yes, and their log-sum-exp (n,) or None; an embedder's vectors (n, d) of
        length 1. fp32."""
        inner = self.causal.get_base_model() if isinstance(self.causal, PeftModel) else self.causal
        packed = inner.config._attn_implementation == attention.NAME
        seen = {"segments": attention.segments_of(blocks)} if packed else {"attention_mask": block_mask(blocks)}
        output = inner.model(input_ids=input_ids, position_ids=position_ids, use_cache=False, **seen)
        hidden = output.last_hidden_state[rows, columns]
        if self.answers is None:
            return F.normalize(hidden.float(), dim=-1), None
        if self.answers.whole:
            logits = inner.lm_head(hidden).float()
            return logits[:, [self.answers.no, self.answers.yes]], torch.logsumexp(logits, -1)
        words = inner.lm_head.weight[[self.answers.no, self.answers.yes]]
        return F.linear(hidden, words).float(), None

    def tie_weights(self) -> None:
        """What accelerate asks for where it moved the weights before it shards them."""
        self.causal.tie_weights()

    def save(self, folder: Path, state: dict[str, Tensor] | None = None) -> None:
        """peft's adapter, or all weights. `state`: gathered from several processes, by this module's names.

        Raises NonFiniteScore, OSError for a full disk; then no such folder is left.
        """
        self._require_finite(state)
        try:
            self._write(folder, state)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            number = error.errno if isinstance(error, OSError) and error.errno else errno.ENOSPC
            raise OSError(number, f"these weights could not be written ({error})", str(folder)) from error

    def _require_finite(self, state: dict[str, Tensor] | None) -> None:
        trained = {name: value for name, value in self.named_parameters() if value.requires_grad} if state is None else state
        for name, value in trained.items():
            if not torch.isfinite(value).all():
                raise NonFiniteScore(
                    f"{name}: these weights are no numbers any more; a lower learning_rate or fp32 may help; "
                    "the last checkpoint is as it was",
                    param="weights",
                    received=name,
                )

    def _write(self, folder: Path, state: dict[str, Tensor] | None) -> None:
        own = None if state is None else {name.removeprefix("causal."): value for name, value in state.items()}
        if isinstance(self.causal, PeftModel):
            self.causal.save_pretrained(
                folder, state_dict=own, save_embedding_layers=False
            )  # else it asks the hub for the base
            (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        elif own is None:
            self.causal.save_pretrained(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.causal.config.save_pretrained(folder)
            save_file(own, folder / WHOLE_WEIGHTS, {"format": "pt"})

    def load(self, folder: Path) -> None:
        """The weights that `save` wrote. Raises CheckpointError for another model's."""
        try:
            if is_sharded(self):
                unexpected = self._load_shards(_tensors(folder))
            elif isinstance(self.causal, PeftModel):
                found = set_peft_model_state_dict(self.causal, load_file(folder / ADAPTER_WEIGHTS))
                unexpected = [*found.unexpected_keys, *(name for name in found.missing_keys if "lora_" in name)]
            else:
                missing, unexpected = self.causal.load_state_dict(_tensors(folder), strict=False)
                unexpected += [name for name in missing if name != "lm_head.weight"]
        except (OSError, RuntimeError, KeyError) as error:
            raise CheckpointError(f"{folder}: its weights are not this model's: {error}", param="checkpoint") from error
        if unexpected:
            raise CheckpointError(
                f"{folder}: its weights are not this model's: {unexpected[0]}", param="checkpoint", received=unexpected[0]
            )

    def _load_shards(self, found: dict[str, Tensor]) -> list[str]:
        """Returns the names that are not this model's, and those that are missing."""
        lora = isinstance(self.causal, PeftModel)
        own = {_saved(name): f"causal.{name}" for name in self.causal.state_dict() if "lora_" in name or not lora}
        wrong = [*(found.keys() - own.keys()), *(own.keys() - found.keys() - {"lm_head.weight"})]
        if not wrong:
            set_whole_state(self, {own[name]: value for name, value in found.items()})
        return wrong


def _tensors(folder: Path) -> dict[str, Tensor]:
    return {name: value for path in sorted(folder.glob("*.safetensors")) for name, value in load_file(path).items()}


def _saved(name: str) -> str:
    """The name in peft's file; others stay."""
    return name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector").replace(".default.", ".")


def build(checkpoint: Checkpoint, recipe: Recipe, answers: Answers | None, *, on_cpu: bool) -> Scorer:
    """The model of a recipe, its adapter drawn from the first stage's seed. Raises InvalidInput, CheckpointError."""
    if checkpoint.adapter is not None:
        message = f"base.name: {checkpoint.name} has an adapter; merge it first (gigarank train merge)"
        raise InvalidInput(message, param="base.name", received=checkpoint.name)
    chosen = None if recipe.lora is None else _layers(recipe.lora, read_config(checkpoint.folder))
    disable_progress_bar()
    frozen = torch.bfloat16 if recipe.base.dtype == "bf16" and recipe.lora is not None else torch.float32
    attends = attention.NAME if on_cpu else "sdpa"  # a GPU would rather compute too much than wait for many small calls
    causal = AutoModelForCausalLM.from_pretrained(checkpoint.folder, dtype=frozen, attn_implementation=attends)
    causal.config.use_cache = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names that transformers 5 has and 6 will rename
        if recipe.lora is not None:
            torch.manual_seed(recipe.stage[0].seed)
            causal = get_peft_model(causal, _peft(recipe.lora, chosen))
            causal.peft_config["default"].base_model_name_or_path = checkpoint.name  # peft's own would be this machine's folder
            if frozen == torch.bfloat16:
                _leave_to_autocast(causal)
        if recipe.gradient_checkpointing:
            causal.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            causal.enable_input_require_grads()
    scorer = Scorer(causal, answers)
    if recipe.lora is not None and recipe.lora.start is not None:
        _start(scorer, recipe.lora, recipe.lora.start)
    return scorer


def _start(scorer: Scorer, lora: Lora, start: Path) -> None:
    """The adapter's weights instead of new ones. Raises InvalidInput for another rank, scale or kind, and CheckpointError."""
    there = parse_adapter(read_json(adapter_folder(start) / ADAPTER_CONFIG, "lora.start"))
    patterns = dict(there.rank_pattern) | dict(there.alpha_pattern)
    found = (there.rank, there.alpha, there.rank_stabilised, there.dora, there.stack, patterns)
    wanted = (lora.rank, lora.alpha, lora.rslora, lora.dora, stack_of(lora.layer_replication), dict[str, object]())
    names = ("rank", "alpha", "rslora", "dora", "layer_replication", "patterns")
    for name, received, limit in zip(names, found, wanted, strict=True):
        if received != limit:
            message = f"lora.start: {start} has {name} {received}, and the recipe's table {limit}"
            raise InvalidInput(message, param="lora.start", limit=limit, received=received)
    scorer.load(start)


def _leave_to_autocast(causal: nn.Module) -> None:
    """peft would widen every input to the adapter's fp32; the trainer's autocast makes the products bf16 anyway."""
    for module in causal.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False


def _layers(lora: Lora, config: ModelConfig) -> list[int] | None:
    stack = stack_of(lora.layer_replication)
    count = (config if stack is None else stacked_config(config, stack)).num_hidden_layers
    if lora.layers is None:
        return None
    chosen = list(lora.layers) if isinstance(lora.layers, tuple) else list(range(count))[lora.layers :]
    if max(chosen) >= count or (isinstance(lora.layers, int) and -lora.layers > count):
        raise InvalidInput(
            f"lora.layers: the model has {count} layers, from 0 to {count - 1}",
            param="lora.layers",
            limit=count,
            received=lora.layers,
        )
    return chosen


def _peft(lora: Lora, layers: list[int] | None) -> Any:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        use_rslora=lora.rslora,
        layer_replication=None if lora.layer_replication is None else [list(one) for one in lora.layer_replication],
        layers_to_transform=layers,
        target_modules=list(lora.targets),
    )


def note_base(folder: Path, base: str) -> None:
    """Says in an adapter's folder what it is for, where the engine looks first."""
    write_json(folder / NOTE, {"base": base})
