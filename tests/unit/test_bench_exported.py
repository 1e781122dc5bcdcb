"""The contestants that run an exported graph, up to the runtime: here torch runs the graph itself, and must give our scores.

The runtimes stand in the race's own environments; what is theirs alone is asked of stand-ins that record how they were called.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gigarank.bench import exported, race_peer
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.bench.exported import Graph, OnnxRuntimePeer, OpenVinoPeer, _Exported, padded
from gigarank.bench.peers import Ours
from gigarank.catalogue import Shape
from gigarank.engine.reranker import Reranker
from gigarank.prompt import QWEN3_V1

SHAPE = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)
QUERY = "which planet is red"
DOCUMENTS = [f"{word} " * count for count, word in ((1, "mars"), (40, "venus"), (3, "a cake"), (12, "red"), (1, ""))] * 2


class ByTorch(_Exported):
    """The graph without an export. `shapes`: of the batches that it was given."""

    def load(self, scored: torch.nn.Module) -> tuple[Graph, str]:
        self.shapes: list[tuple[int, ...]] = []

        @torch.no_grad()
        def graph(ids: np.ndarray, mask: np.ndarray) -> Sequence[float]:
            self.shapes.append(ids.shape)
            found: list[float] = scored(torch.from_numpy(ids), torch.from_numpy(mask)).tolist()
            return found

        return graph, "torch itself"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exported") / "checkpoint"
    write_checkpoint(made, SHAPE, QWEN3_V1, 3)
    return made


@pytest.fixture(scope="module")
def by_torch(folder: Path) -> ByTorch:
    return ByTorch(folder, QWEN3_V1)


@pytest.fixture
def expected(folder: Path) -> list[float]:
    return Ours(folder, "fp32", QWEN3_V1).scores(QUERY, DOCUMENTS)


def test_the_graph_gives_our_scores_in_the_order_of_the_documents(by_torch: ByTorch, expected: list[float]) -> None:
    found = by_torch.scores(QUERY, DOCUMENTS)
    assert found == pytest.approx(expected, abs=1e-4)
    assert len({round(logit, 3) for logit in found}) == 5


def test_batches_are_of_like_lengths_and_of_eight(by_torch: ByTorch) -> None:
    by_torch.shapes.clear()
    by_torch.scores(QUERY, DOCUMENTS)
    assert [pairs for pairs, _ in by_torch.shapes] == [8, 2]
    (_, short), (_, long) = by_torch.shapes
    lengths = sorted(len(prompt) for prompt in by_torch.prompts(QUERY, DOCUMENTS))
    assert (short, long) == (lengths[7], lengths[-1])


def test_it_reads_the_ids_that_we_read(by_torch: ByTorch) -> None:
    tokens = by_torch.tokenizer
    for prompt, document in zip(by_torch.prompts(QUERY, DOCUMENTS), DOCUMENTS, strict=True):
        assert prompt == tokens.text.template(QWEN3_V1.render(None, QUERY, document))


def test_what_stands_behind_a_prompt_does_not_count(by_torch: ByTorch) -> None:
    (prompt,) = by_torch.prompts(QUERY, ["mars"])
    ids, mask = padded([prompt, [*prompt, *range(1, 30)]])
    alone = by_torch.graph(*padded([prompt]))[0]
    assert by_torch.graph(ids, mask)[0] == pytest.approx(alone, abs=1e-5)
    ids[0, len(prompt) :] = 77
    assert by_torch.graph(ids, mask)[0] == pytest.approx(alone, abs=1e-5)


def test_it_says_what_runs(by_torch: ByTorch) -> None:
    assert by_torch.how.startswith("torch itself, a graph exported from transformers ")
    assert by_torch.how.endswith("fp32, by length, batch 8")


def importing(monkeypatch: pytest.MonkeyPatch, **libraries: Any) -> None:
    """`import_module` with stand-ins for libraries that are not here."""
    real: Callable[[str], Any] = importlib.import_module
    monkeypatch.setattr(exported, "import_module", lambda name: libraries[name] if name in libraries else real(name))


def test_openvino_is_held_to_fp32_and_to_the_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Core:
        def compile_model(self, model: torch.nn.Module, device: str, hints: dict[str, Any]) -> Any:
            asked.extend([device, hints])
            return lambda both: [model(*(torch.from_numpy(one) for one in both)).tolist()]

    library = SimpleNamespace(__version__="2026.9.9-123-x", Core=Core, convert_model=lambda model, example_input: model)
    importing(monkeypatch, openvino=library)
    peer = OpenVinoPeer(folder, QWEN3_V1)
    assert asked[0] == "CPU"
    assert asked[1]["INFERENCE_PRECISION_HINT"] == "f32"
    assert asked[1]["INFERENCE_NUM_THREADS"] == torch.get_num_threads()
    assert peer.how.startswith("openvino 2026.9.9, CPU")
    with torch.no_grad():
        assert peer.scores(QUERY, ["mars"]) == pytest.approx(ByTorch(folder, QWEN3_V1).scores(QUERY, ["mars"]), abs=1e-5)


def test_onnx_runtime_gets_the_file_the_threads_and_no_spinning(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, Any] = {}

    class Options:
        intra_op_num_threads = 0

        def add_session_config_entry(self, name: str, value: str) -> None:
            made[name] = value

    class Session:
        def __init__(self, path: str, options: Options, providers: list[str]) -> None:
            made.update(path=path, threads=options.intra_op_num_threads, providers=providers)

        def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [inputs["attention_mask"].sum(axis=1).astype(np.float32)]

    def export(model: torch.nn.Module, example: tuple[torch.Tensor, ...], **options: Any) -> Any:
        made.update(names=options["input_names"], dynamic=set(options["dynamic_shapes"]))
        return SimpleNamespace(save=lambda path, external_data: Path(path).write_text(str(external_data)))

    importing(monkeypatch, onnxruntime=SimpleNamespace(__version__="9.9", SessionOptions=Options, InferenceSession=Session))
    monkeypatch.setattr(torch.onnx, "export", export)
    peer = OnnxRuntimePeer(folder, QWEN3_V1, tmp_path)
    assert made["path"] == str(tmp_path / "model.onnx")
    assert Path(made["path"]).read_text() == "True"  # weights beside the graph: it may have more than 2 GB
    assert made["session.intra_op.allow_spinning"] == "0"
    assert (made["threads"], made["providers"]) == (torch.get_num_threads(), ["CPUExecutionProvider"])
    assert made["names"] == sorted(made["dynamic"], reverse=True) == ["input_ids", "attention_mask"]
    assert peer.scores(QUERY, DOCUMENTS) == [float(len(prompt)) for prompt in peer.prompts(QUERY, DOCUMENTS)]


def test_an_export_without_a_program_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, onnxruntime=SimpleNamespace(__version__="9.9"))
    monkeypatch.setattr(torch.onnx, "export", lambda *rest, **options: None)
    with pytest.raises(RuntimeError, match=r"torch\.onnx\.export gave no program"):
        OnnxRuntimePeer(folder, QWEN3_V1, tmp_path)


class TestThePeersProcess:
    """gigarank.bench.race_peer as the race starts it."""

    def test_it_answers_line_by_line_with_our_scores(self, folder: Path, tmp_path: Path, expected: list[float]) -> None:
        questions = [{"query": QUERY, "documents": DOCUMENTS}, {"query": QUERY, "documents": DOCUMENTS[:2]}]
        done = self.run("gigarank", folder, tmp_path, questions)
        assert done.returncode == 0, done.stderr
        ready, first, second = (json.loads(line) for line in done.stdout.splitlines())
        assert ready["how"].startswith("gigarank ") and ready["versions"]["torch"] == torch.__version__
        assert first["logits"] == pytest.approx(expected, abs=1e-5)
        assert second["logits"] == pytest.approx(expected[:2], abs=1e-5)
        assert first["seconds"] > 0 and second["seconds"] > 0

    def test_a_name_that_nobody_has_ends_it(self, folder: Path, tmp_path: Path) -> None:
        done = self.run("nobody", folder, tmp_path, [])
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1] == "ValueError: no contestant is called nobody"

    def test_int8_is_ours_in_int8(self, folder: Path, tmp_path: Path) -> None:
        found = race_peer.contestant("gigarank-int8", folder, tmp_path)
        scores = found.scores(QUERY, ["mars"])
        assert scores == [score.logit for score in Reranker.load(folder, device="cpu", dtype="int8").rank(QUERY, ["mars"])]

    def run(
        self, name: str, folder: Path, place: Path, questions: Sequence[dict[str, Any]]
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gigarank.bench.race_peer", name, str(folder), str(place), "1"]
        told = "".join(json.dumps(question) + "\n" for question in questions)
        return subprocess.run(command, input=told, capture_output=True, text=True, check=False, timeout=120)
