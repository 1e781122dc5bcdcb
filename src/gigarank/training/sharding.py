"""Several processes: which of them tells, FSDP as accelerate's configuration asks for it, and weights put together again.

Knows torch's FSDP2 and accelerate's environment. Invariant: what is saved is whole, and what cannot be saved so is refused
before anything is trained.
"""

import os
from typing import Any

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from gigarank.errors import InvalidInput

try:
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error

_KNOWN = {"FSDP_VERSION": ("fsdp_version", "2"), "FSDP_STATE_DICT_TYPE": ("fsdp_state_dict_type", "FULL_STATE_DICT")}


def processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))  # what torchrun and accelerate set


def first_process() -> bool:
    """Whether this is the process that writes and tells."""
    return int(os.environ.get("RANK", "0")) == 0


def asked_for() -> bool:
    """Whether `accelerate launch` was given a configuration of FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def check() -> None:
    """Raises InvalidInput for a configuration of FSDP whose weights could not be put together."""
    for variable, (key, wanted) in _KNOWN.items():
        found = os.environ.get(variable, wanted)
        if asked_for() and found != wanted:
            raise InvalidInput(f"fsdp_config.{key}: must be {wanted}, not {found}", param=key, limit=wanted, received=found)


def on_cpus(accelerator: Any) -> bool:
    """Shards on CPUs too: accelerate 1.15 has FSDP for accelerators only, and on CPUs trains unsharded without a word."""
    state = accelerator.state
    if not asked_for() or state.distributed_type != DistributedType.MULTI_CPU:
        return False
    state.fsdp_plugin = FullyShardedDataParallelPlugin()
    if accelerator.mixed_precision != "no":
        state.fsdp_plugin.set_mixed_precision(accelerator.mixed_precision)
    state.distributed_type = DistributedType.FSDP
    return True


def is_sharded(module: nn.Module) -> bool:
    """Whether each process has a part of its weights."""
    return isinstance(module, FSDPModule)


def whole_state(module: nn.Module) -> dict[str, Tensor] | None:
    """A sharded module's weights, put together on the first process; all processes must ask. None: it is not sharded."""
    if not is_sharded(module):
        return None
    whole = {}
    for name, value in module.named_parameters():  # tied ones once
        one = value.full_tensor() if isinstance(value, DTensor) else value
        if first_process():
            whole[name.replace("_checkpoint_wrapped_module.", "")] = one.detach().cpu().contiguous()
    return whole


def own_part(tensor: Tensor) -> Tensor:
    """What this process has of a sharded tensor; another one as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def set_whole_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Each process keeps its shard of what all of them read. Weights that `state` lacks stay."""
    set_model_state_dict(module, dict[str, Any](state), options=StateDictOptions(full_state_dict=True, strict=False))
