"""Where a measurement was taken: processor, threads, load and versions. Measures nothing itself."""

import os
import platform
import re
import resource
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from gigarank.types import JsonObject

PACKAGES = ("gigarank", "torch", "tokenizers", "safetensors", "huggingface-hub")
PEER_PACKAGES = ("transformers", "sentence-transformers")


def cpu_model() -> str:
    """The processor's name as the kernel states it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Python and each installed package."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def resident_bytes() -> int:
    """What this process holds in memory now, at its highest where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def describe(packages: tuple[str, ...]) -> JsonObject:
    """All of it, as it stands now. `load_average` is the last minute's: above 0.5 something else was running."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "memory_bytes": memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": versions(packages),
    }
