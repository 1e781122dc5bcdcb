"""The bench's contestants compute the same scores from the same folder: otherwise their speeds could not be compared."""

from pathlib import Path

import pytest

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.bench.engine import Settings, Stage, measure
from gigarank.bench.peers import PEERS, Contestant, Ours, TransformersCard, check_names, load_peer
from gigarank.bench.summary import disagreeing
from gigarank.bench.workloads import Request, Workload, request
from gigarank.catalogue import Shape
from gigarank.errors import InvalidInput
from gigarank.prompt import NANO_V1, QWEN3_V1, PromptFormat

QWEN3 = Shape("qwen3", 64, 2, 4, 2, 32, 128, 12_000, True, 1e6, 1e-6, 4_096)
LLAMA = Shape("llama", 96, 2, 3, 1, 32, 128, 12_000, True, 1e5, 1e-5, 4_096)
UNTIED = Shape("qwen3", 64, 2, 4, 2, 32, 128, 12_000, False, 1e6, 1e-6, 4_096)
LOAD = Workload("short", 11, 30)


def folder_of(place: Path, shape: Shape, prompt: PromptFormat) -> tuple[Path, Request]:
    tokenizer = write_checkpoint(place / "random", shape, prompt)
    return place / "random", request(LOAD, tokenizer, prompt)


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Request]:
    return folder_of(tmp_path_factory.mktemp("peers"), QWEN3, QWEN3_V1)


@pytest.fixture(scope="module")
def ours(qwen3: tuple[Path, Request]) -> Ours:
    return Ours(qwen3[0], "fp32", QWEN3_V1)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(("shape", "prompt"), [(QWEN3, QWEN3_V1), (LLAMA, NANO_V1), (UNTIED, QWEN3_V1)])
def test_a_peer_scores_as_we_do(tmp_path: Path, name: str, shape: Shape, prompt: PromptFormat) -> None:
    folder, asked = folder_of(tmp_path, shape, prompt)
    mine = Ours(folder, "fp32", prompt).scores(asked.query, asked.documents)
    theirs = load_peer(name, folder, "fp32", prompt).scores(asked.query, asked.documents)
    assert theirs == pytest.approx(mine, abs=2e-5)
    assert max(mine) - min(mine) > 0.1  # the documents differ, so that agreement means something


def test_a_document_longer_than_the_model_is_cut_alike(qwen3: tuple[Path, Request], ours: Ours) -> None:
    long = " ".join(qwen3[1].documents * 20)
    card = TransformersCard(qwen3[0], "fp32", QWEN3_V1)
    mine = ours.scores(qwen3[1].query, [long])
    assert ours.reranker.rank(qwen3[1].query, [long])[0].truncated
    assert card.scores(qwen3[1].query, [long]) == pytest.approx(mine, abs=5e-5)


def test_ours_reports_the_batches_of_its_own_plan(qwen3: tuple[Path, Request], ours: Ours) -> None:
    _, asked = qwen3
    batches = ours.batches(asked.query, asked.documents)
    usage = ours.reranker.rank(asked.query, asked.documents).usage
    assert sum(batch.tokens for batch in batches) == usage.total_tokens
    assert sum(batch.outputs for batch in batches) == len(asked.documents)
    different = [f"{number} {document}" for number in range(40) for document in asked.documents]
    many = ours.batches(asked.query, different)
    assert len(many) > 1
    assert sum(batch.outputs for batch in many) == len(different)
    repeated = ours.batches(asked.query, asked.documents * 40)
    assert sum(batch.outputs for batch in repeated) == len(asked.documents)  # equal ones are computed once


@pytest.mark.parametrize("name", ["vllm", "", "Transformers"])
def test_an_unknown_peer_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidInput, match="transformers, sentence-transformers"):
        check_names([name])


class Listening:
    """A contestant that notes its turn and scores as another does, `off` by a constant."""

    how = "notes its turn"

    def __init__(self, name: str, turns: list[str], like: Contestant, off: float = 0.0) -> None:
        self.name, self.turns, self.like, self.off = name, turns, like, off

    def scores(self, query: str, documents: tuple[str, ...] | list[str]) -> list[float]:
        self.turns.append(f"{self.name} {len(documents)}")
        return [score + self.off for score in self.like.scores(query, documents)]


def measured(ours: Ours, peers: tuple[Listening, ...], asked: Request, repeats: int, said: list[str]) -> dict[str, object]:
    settings = Settings("0.6b", repeats=repeats)
    return measure(Stage(ours, peers, settings, said.append), LOAD, asked)  # type: ignore[arg-type]


def test_contestants_take_turns_after_a_check_on_a_few_documents(qwen3: tuple[Path, Request], ours: Ours) -> None:
    turns: list[str] = []
    said: list[str] = []
    result = measured(ours, (Listening("a", turns, ours), Listening("b", turns, ours)), qwen3[1], 2, said)
    assert turns == ["a 8", "b 8", "a 11", "b 11", "a 11", "b 11"]
    seconds = result["seconds"]
    assert isinstance(seconds, dict)
    assert list(seconds) == ["gigarank", "gemm_limit", "a", "b"]
    assert all(len(values) == 2 and min(values) > 0 for values in seconds.values())
    assert [line.split(":")[0] for line in said[2:]] == ["short, round 1 of 2", "short, round 2 of 2"]


def test_a_peer_with_other_scores_is_found_out(qwen3: tuple[Path, Request], ours: Ours) -> None:
    off = Listening("off", [], ours, off=0.01)
    result = measured(ours, (Listening("right", [], ours), off), qwen3[1], 1, [])
    assert disagreeing({"results": [result]}) == ["short: off differs by 0.01, allowed 0.001"]


def test_a_peer_that_answers_nan_is_found_out(qwen3: tuple[Path, Request], ours: Ours) -> None:
    result = measured(ours, (Listening("broken", [], ours, off=float("nan")),), qwen3[1], 1, [])
    assert disagreeing({"results": [result]}) == ["short: broken differs by inf, allowed 0.001"]
