"""What a result says of the machine it was measured on."""

import platform
from importlib.metadata import version

import torch

from fresh_memory import fresh_memory
from gigarank.bench.machine import PACKAGES, cpu_model, describe, memory_bytes, resident_bytes, versions


def test_versions_are_the_installed_ones_and_a_missing_package_is_named_so() -> None:
    found = versions(("torch", "no-such-package"))
    assert found == {"python": platform.python_version(), "torch": version("torch"), "no-such-package": "not installed"}


def test_memory_is_in_bytes_and_grows_with_what_is_held() -> None:
    before = resident_bytes()
    held = fresh_memory(200)
    assert 190 << 20 < resident_bytes() - before < 260 << 20
    assert held[-1] == 1
    held.close()
    assert resident_bytes() < memory_bytes()
    assert memory_bytes() > 1 << 30


def test_the_description_names_processor_threads_and_versions() -> None:
    about = describe(PACKAGES)
    assert about["cpu"] == cpu_model() != ""
    assert about["torch_threads"] == torch.get_num_threads()
    assert set(about["versions"]) == {"python", *PACKAGES}
    assert about["load_average"] >= 0
