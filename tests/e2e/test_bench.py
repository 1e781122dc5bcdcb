"""`gigarank bench engine` as a shell runs it: progress on standard error, one line of JSON at the end of standard output."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Program = Callable[..., CompletedProcess[str]]
SMALL = ("bench", "engine", "--shape", "nano", "--layers", "1", "--docs", "3", "--tokens", "12", "--repeats", "2")
PEERS = ("--against", "transformers,sentence-transformers")


@pytest.fixture(scope="module")
def against_peers(gigarank: Program) -> CompletedProcess[str]:
    return gigarank(*SMALL, "--workload", "short,long", *PEERS)


def test_it_ends_in_one_line_of_json_with_the_promised_fields(against_peers: CompletedProcess[str]) -> None:
    assert against_peers.returncode == 0, against_peers.stderr
    result = json.loads(against_peers.stdout.splitlines()[-1])
    assert result["pairs_per_second"] > 0
    assert result["tokens_per_second"] > result["pairs_per_second"]
    assert 50 << 20 < result["peak_memory_bytes"] < 3 << 30
    assert set(result["ratio_to_peers"]) == {"transformers", "sentence-transformers"}
    assert result["ratio_to_peers"]["transformers"]["min"] <= result["ratio_to_peers"]["transformers"]["max"]
    assert 0 < result["ratio_to_gemm_limit"]["median"] < 1.2
    assert result["workload"]["name"] == "short"
    assert result["numerics"]["dtype"] == "fp32"
    assert result["machine"]["versions"]["sentence-transformers"][0].isdigit()


def test_a_shortened_model_says_so(against_peers: CompletedProcess[str]) -> None:
    assert "1 layers, SHORTENED" in against_peers.stdout
    model = json.loads(against_peers.stdout.splitlines()[-1])["model"]
    assert (model["layers"], model["shortened"], model["weights"]) == (1, True, "random, seed 0")


def test_every_workload_has_its_own_result_and_row(against_peers: CompletedProcess[str]) -> None:
    result = json.loads(against_peers.stdout.splitlines()[-1])
    assert [one["workload"]["name"] for one in result["results"]] == ["short", "long"]
    assert all(len(values) == 2 for one in result["results"] for values in one["seconds"].values())
    assert result["results"][0]["pairs_per_second"] == result["pairs_per_second"]
    assert sum(line.startswith(("| short | 3 x 12", "| long | 3 x 12")) for line in against_peers.stdout.splitlines()) == 2


def test_peers_agree_with_us_before_they_are_timed(against_peers: CompletedProcess[str]) -> None:
    for one in json.loads(against_peers.stdout.splitlines()[-1])["results"]:
        assert all(found["agrees"] and found["max_logit_difference"] < 1e-4 for found in one["agreement"].values())
    said = against_peers.stderr.splitlines()
    before = next(n for n, line in enumerate(said) if "short: transformers and we differ" in line)
    assert before < next(n for n, line in enumerate(said) if "short, round 1 of 2" in line)


def test_json_alone_prints_one_line_no_peer_is_needed_and_nothing_is_left(gigarank: Program, tmp_path: Path) -> None:
    done = gigarank(*SMALL, "--dtype", "bf16", "--json", env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert (result["ratio_to_peers"], list(result["contestants"])) == ({}, ["gigarank"])
    assert result["numerics"]["dtype"] == result["model"]["dtype"] == "bf16"
    assert [path for path in tmp_path.iterdir() if path.name.startswith("gigarank-bench")] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workload", "tiny"), "short, passages, long, single"),
        (("--against", "vllm"), "transformers, sentence-transformers"),
        (("--shape", "70b"), "0.6b"),
        (("--docs", "0"), "docs"),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(gigarank: Program, arguments: tuple[str, ...], message: str) -> None:
    done = gigarank(*SMALL[:6], *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("gigarank: error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
