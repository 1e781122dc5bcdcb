"""Checkpoint folders of tiny models, and LoRA adapters for them, made by peft as anyone's training makes them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import tiny

TARGETS = ["q_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]


def write_folder(folder: Path, name: str = "qwen3", *, bare: bool = False) -> Path:
    """A checkpoint of tiny's random weights; `bare` leaves out the 'model.' before names, as embedding models do."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = tiny.tensors_of(name).tensors
    named = {key.removeprefix("model.") if bare else key: tensor for key, tensor in tensors.items()}
    save_file(named, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(tiny.CONFIGS[name].to_json()))
    (folder / "tokenizer.json").write_text(tiny.qwen_json())
    return folder


def peft_model(name: str = "qwen3", seed: int = 0, **settings: Any) -> Any:
    """transformers' model with a random adapter: every factor differs from zero, and so does its effect."""
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - seconds long, and not for every test

    chosen = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **settings}
    torch.manual_seed(seed)
    model = get_peft_model(tiny.reference(tiny.CONFIGS[name], tiny.tensors_of(name)), LoraConfig(**chosen))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_magnitude" in key:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter))
            elif "lora_" in key:
                parameter.normal_(std=0.2)
    return model.eval()


def write_adapter(model: Any, folder: Path, base: str = "a base") -> Path:
    """Saves it as peft does, and names the base."""
    model.save_pretrained(folder)
    change_config(folder, base_model_name_or_path=base)
    return folder


def change_config(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
