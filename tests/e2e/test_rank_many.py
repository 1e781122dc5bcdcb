"""`gigarank rank-many` in a real Ray cluster of one machine: killed and continued, into a folder and into a bucket.

One cluster serves all; what a block is and what is refused is tested without Ray in tests/unit/test_cluster_*.py. With
`--cluster local` runs scripts/many.py.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from buckets import s3_server
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.cluster.places import open_place
from gigarank.engine.reranker import Reranker
from gigarank.prompt import QWEN3_V1
from hosting import SHAPE

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
SETTINGS |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # this cluster's own
PORT = 20_000 + os.getpid() % 10_000  # above those that Ray gives its workers


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with s3_server() as env:
        yield env


@pytest.fixture(scope="module")
def cluster(bucket: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two processors; its engines have the bucket's environment, as a real one's would."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", "--head", "--block", f"--port={PORT}", "--num-cpus=2", "--include-dashboard=false"]
    command += ["--object-store-memory=100000000", "--disable-usage-stats"]
    log = tmp_path_factory.mktemp("ray") / "log"
    with log.open("w") as out:
        head = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, **SETTINGS, **bucket}, start_new_session=True
        )
    while "Ray runtime started" not in log.read_text():
        assert head.poll() is None, log.read_text()
        time.sleep(0.1)
    yield f"127.0.0.1:{PORT}"
    end(head)


def end(head: subprocess.Popen[bytes]) -> None:
    """At once, with all that it started: asked kindly, Ray takes longer than the tests."""
    psutil: Any = import_module("psutil")
    everyone = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    head.wait(30)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_checkpoint(folder, SHAPE, QWEN3_V1)
    return folder


def start(*arguments: str | Path, **env: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())", "rank-many", *arguments]
    own = {**os.environ, **SETTINGS, **env}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own, text=True)


def ended(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert err.count("\n") == 1 and "rows ranked in" in err  # the footer alone: no bar where nobody looks
    found: dict[str, Any] = json.loads(out)
    return found


def parts(output: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in output.glob("part-*")}


def test_a_run_that_is_killed_is_continued_and_every_row_is_there_once(cluster: str, model: Path, tmp_path: Path) -> None:
    rows = [{"id": f"r{number}", "query": f"query {number // 50}", "document": f"text {number}"} for number in range(4_000)]
    lines = [json.dumps(row) for row in rows]
    lines[10], lines[3_999] = '{"id": "r10", "query": "q", "document": null}', "no JSON"
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    output = tmp_path / "out"
    command = (tmp_path / "in.jsonl", output, "--model", model, "--cluster", cluster, "--block-rows", "50", "--json")
    killed = start(*command)
    while not parts(output):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    finished = parts(output)
    assert killed.returncode == -signal.SIGKILL and 0 < len(finished) < 80
    summary = ended(start(*command))
    assert (summary["blocks"], summary["finished_before"] >= len(finished)) == (80, True)
    assert summary["rows"] == (80 - summary["finished_before"]) * 50
    assert {name: stamp for name, stamp in parts(output).items() if name in finished} == finished
    found = [json.loads(line) for name in sorted(parts(output)) for line in (output / name).read_text().splitlines()]
    assert [row["row"] for row in found] == list(range(1, 4_001))
    assert {row["row"]: row.get("id") for row in found if "error" in row} == {11: "r10", 4_000: None}
    sound = [number for number in range(4_000) if number not in (10, 3_999)]
    scores = Reranker.load(model).score([(rows[number]["query"], rows[number]["document"]) for number in sound])
    assert [found[number]["logit"] for number in sound] == [score.logit for score in scores]
    assert [found[number]["id"] for number in sound] == [rows[number]["id"] for number in sound]


def test_rankings_go_from_a_bucket_into_a_bucket(
    cluster: str, model: Path, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bucket.items():
        monkeypatch.setenv(name, value)
    source, output = open_place("s3://rows/in", "input"), open_place("s3://rows/out", "output")
    texts = [[f"text {number} {place}" for place in range(number % 4)] for number in range(40)]
    table = pa.table({"id": list(range(40)), "query": [f"query {number}" for number in range(40)], "documents": texts})
    for number in range(2):
        with source.filesystem.open_output_stream(source.under(f"{number}.parquet")) as stream:
            parquet.write_table(table.slice(number * 20, 20), stream)
    process = start("s3://rows/in", "s3://rows/out", "--model", model, "--cluster", cluster, "--block-rows", "15", "--json")
    assert ended(process)["rows"] == 40
    assert [file.name for file in output.files()] == [
        "_SUCCESS",
        "_manifest.json",
        *(f"part-{n:06d}.parquet" for n in range(4)),
    ]
    found = parquet.read_table("rows/out", filesystem=output.filesystem).sort_by("id").to_pylist()
    assert [(row["file"], row["row"]) for row in found] == [(f"{n // 20}.parquet", n % 20 + 1) for n in range(40)]
    reranker = Reranker.load(model)
    for number, row in enumerate(found):
        expected = reranker.rank(f"query {number}", texts[number])
        assert [(one["index"], one["logit"]) for one in row["results"]] == [(score.index, score.logit) for score in expected]
