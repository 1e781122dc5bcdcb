"""A run without Ray: a block from its file to the output's, what an engine answers when something fails, the lock, the end.

What Ray does with it stands in tests/e2e/test_rank_many.py.
"""

import errno
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from filelock import FileLock
from pyarrow import parquet

from gigarank import __version__
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.cli.rank_many import RankManyOptions, asked, check_cluster, choose, footer
from gigarank.cluster import many
from gigarank.cluster.blocks import Block
from gigarank.cluster.manifest import DONE, NAME, prepare
from gigarank.cluster.many import Engine, Job, ModelChoice, Summary, Where, held, raise_packed, rank_block
from gigarank.cluster.places import Place, open_place
from gigarank.engine.reranker import Reranker
from gigarank.errors import BadFile, CheckpointError, GigarankError, InvalidInput, UnknownModel
from gigarank.prompt import QWEN3_V1
from hosting import SHAPE

ROWS = [{"id": number, "query": f"query {number // 3}", "document": f"text {number}"} for number in range(7)]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_checkpoint(folder, SHAPE, QWEN3_V1)
    return folder


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Reranker:
    return Reranker.load(model_folder)


def options(model_folder: Path, tmp_path: Path, **more: Any) -> RankManyOptions:
    return RankManyOptions(
        source=str(tmp_path / "in.jsonl"), output=str(tmp_path / "out"), model=str(model_folder), block_rows=3, **more
    )


def begun(chosen: RankManyOptions) -> Job:
    choice, _ = choose(chosen)
    source, output = open_place(chosen.source, "input"), open_place(chosen.output, "output")
    output.make()
    manifest = prepare(source, output, asked(chosen, choice))
    return Job(source, output, manifest, choice, chosen.instruction, chosen.top_n)


@pytest.fixture
def job(model_folder: Path, tmp_path: Path) -> Job:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return begun(options(model_folder, tmp_path))


def answers(output: Place) -> list[dict[str, Any]]:
    parts = sorted(Path(output.path).glob("part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def rerun(job: Job, chosen: RankManyOptions) -> Summary:
    where = Where("local", None, 1)
    return many.rank_many(job.source, job.output, asked(chosen, job.choice), job.choice, where)


def test_blocks_give_what_the_library_gives(job: Job, model: Reranker) -> None:
    assert [rank_block(model, job, block) for block in job.manifest.blocks] == [0, 0, 0]
    expected = model.score([(row["query"], row["document"]) for row in ROWS])  # type: ignore[misc]
    assert answers(job.output) == [
        {
            "id": row["id"],
            "file": "in.jsonl",
            "row": number,
            "relevance_score": score.relevance_score,
            "logit": score.logit,
            "tokens": score.tokens,
            "truncated": False,
        }
        for number, (row, score) in enumerate(zip(ROWS, expected, strict=True), start=1)
    ]


def test_a_block_again_gives_the_same_bytes(job: Job, model: Reranker) -> None:
    block = job.manifest.blocks[1]
    rank_block(model, job, block)
    before = job.output.read(job.manifest.part(block))
    rank_block(model, job, block)
    assert job.output.read(job.manifest.part(block)) == before


def test_rankings_of_parquet_keep_the_id_and_the_best(model_folder: Path, model: Reranker, tmp_path: Path) -> None:
    texts = [["one", "two", "three"], None, ["four", None], []]
    table = {
        "key": pa.array([10, 20, 30, 40], pa.int16()),
        "query": ["q"] * 4,
        "documents": pa.array(texts, pa.list_(pa.string())),
    }
    parquet.write_table(pa.table(table), tmp_path / "in.parquet")
    chosen = replace(options(model_folder, tmp_path, top_n=2, id_field="key"), source=str(tmp_path / "in.parquet"))
    job = begun(chosen)
    assert sum(rank_block(model, job, block) for block in job.manifest.blocks) == 2
    found = parquet.read_table(job.output.path).to_pylist()
    ranking = model.rank("q", ["one", "two", "three"], top_n=2)
    assert [(one["index"], one["logit"]) for one in found[0]["results"]] == [(score.index, score.logit) for score in ranking]
    assert [row["id"] for row in found] == [10, 20, 30, 40] and [row["row"] for row in found] == [1, 2, 3, 4]
    assert found[1]["error"] == "the field 'documents' is null; an array of strings is needed"
    assert found[2]["error"] == "documents[1] is null; a string is needed"
    assert (found[3]["results"], found[3]["error"]) == ([], None)


def test_the_instruction_of_the_command_holds_for_rows_without_one(model_folder: Path, model: Reranker, tmp_path: Path) -> None:
    rows = [{"query": "q", "document": "d"}, {"query": "q", "document": "d", "instruction": "Find lies"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = begun(options(model_folder, tmp_path, instruction="Find truth"))
    rank_block(model, job, job.manifest.blocks[0])
    expected = [model.score([("q", "d")], instruction=one)[0].logit for one in ("Find truth", "Find lies")]
    assert [one["logit"] for one in answers(job.output)] == expected and expected[0] != expected[1]


def test_an_engine_answers_with_what_it_did(job: Job, model: Reranker) -> None:
    before = torch.get_num_threads()
    engine = Engine(job, before)
    block = job.manifest.blocks[2]
    assert engine({"block": [json.dumps(asdict(block))]}) == {"rows": [1], "errors": [0], "failure": [""]}
    assert [one["id"] for one in answers(job.output)] == [6]


def failure_of(job: Job, block: Block) -> Exception:
    (failure,) = Engine(job, torch.get_num_threads())({"block": [json.dumps(asdict(block))]})["failure"]
    with pytest.raises((GigarankError, OSError)) as caught:
        raise_packed(failure)
    return caught.value


def test_an_engine_s_failures_come_back_as_what_they_were(job: Job, tmp_path: Path) -> None:
    block = job.manifest.blocks[0]
    other = replace(job, choice=replace(job.choice, fingerprint="0" * 64))
    assert isinstance(failure_of(other, block), CheckpointError)
    nowhere = replace(job, choice=replace(job.choice, model="no-such-model"))
    assert isinstance(failure_of(nowhere, block), UnknownModel)
    gone = failure_of(replace(job, output=open_place(str(tmp_path / "gone"), "output")), block)
    assert isinstance(gone, OSError) and gone.errno == errno.ENOENT and str(tmp_path / "gone") in str(gone.filename)
    (tmp_path / "in.jsonl").write_text("{}")
    assert isinstance(failure_of(job, block), BadFile)


def test_a_finished_output_starts_nothing(job: Job, model: Reranker, model_folder: Path, tmp_path: Path) -> None:
    for block in job.manifest.blocks:
        rank_block(model, job, block)
    (tmp_path / "out" / ".part-000001.jsonl.0.half").write_text("left by one that was killed")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    summary = rerun(job, options(model_folder, tmp_path))
    assert (summary.blocks, summary.finished_before, summary.rows, summary.actors) == (3, 3, 0, 0)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")} == before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*before, NAME, DONE, ".lock"}


def test_an_empty_input_is_finished_at_once(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").touch()
    chosen = options(model_folder, tmp_path)
    assert rerun(begun(chosen), chosen).blocks == 0
    assert (tmp_path / "out" / DONE).exists()


def test_another_setting_is_refused(job: Job, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match='instruction was null, now "x"'):
        rerun(job, options(model_folder, tmp_path, instruction="x"))
    other = replace(job, choice=replace(job.choice, fingerprint="0" * 64))
    with pytest.raises(InvalidInput, match="model's files was"):
        rerun(other, options(model_folder, tmp_path))


def test_one_run_at_a_time(job: Job, model_folder: Path, tmp_path: Path) -> None:
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(InvalidInput, match="another run writes there"):
        rerun(job, options(model_folder, tmp_path))
    with held(job.output):
        pass


def test_a_block_on_another_machine_s_disk_is_missed(job: Job) -> None:
    with pytest.raises(InvalidInput, match=r"3 finished blocks are not in .*; name a folder that all machines share"):
        many._check_all(job, job.manifest.blocks)


def test_what_the_output_depends_on(model_folder: Path, tmp_path: Path) -> None:
    choice = ModelChoice(str(model_folder), None, None, "fp32", "cpu", 77, "f" * 64)
    found = asked(options(model_folder, tmp_path, dtype="fp32", device="cpu", max_tokens=77, top_n=4, actors=2), choice)
    assert found.settings == {
        "gigarank": __version__,
        "model": str(model_folder),
        "model's files": "f" * 64,
        "dtype": "fp32",
        "device": "cpu",
        "max_tokens": 77,
        "instruction": None,
        "top_n": 4,
    }
    assert found.limits.rows == 3


def test_a_model_s_fingerprint_and_size_are_those_of_its_files(model_folder: Path, model: Reranker, tmp_path: Path) -> None:
    choice, where = choose(options(model_folder, tmp_path, actors=3, cluster="auto"))
    assert choice.fingerprint == model.fingerprint
    assert where == Where("auto", 3, 2 * (model_folder / "model.safetensors").stat().st_size)


def test_an_address_of_rays_client_is_refused() -> None:
    check_cluster("local")
    check_cluster("127.0.0.1:6379")
    with pytest.raises(InvalidInput, match="run this on a machine of the cluster"):
        check_cluster("ray://head:10001")


def test_missing_packages_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"not here \(no_such_package\): pip install 'gigarank\[cluster\]'"):
        check_cluster("local", ("pyarrow", "no_such_package"))


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (
            Summary(4, 0, 4_000, 0, 20.0, 2, 1),
            "4,000 rows ranked in 20.0 s, 200 rows/s, engines: 2, threads each: 1; 4 blocks",
        ),
        (
            Summary(4, 3, 1_000, 7, 10.0, 1, 2),
            "1,000 rows ranked in 10.0 s, 100 rows/s, engines: 1, threads each: 2; 4 blocks, 3 of them finished before; "
            "7 of these rows have an error instead",
        ),
        (Summary(4, 4, 0, 0, 0.5, 0, 0), "0 rows ranked in 0.5 s; 4 blocks, 4 of them finished before"),
    ],
)
def test_the_footer_says_what_this_run_did(summary: Summary, said: str) -> None:
    assert footer(summary) == said
