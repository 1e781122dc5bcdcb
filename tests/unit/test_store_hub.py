"""The hub's cache and a hub on loopback, through huggingface_hub itself.

It reads its switches when it is imported; each machine state therefore runs in a process of its own, for several names.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gigarank.engine.hub import missing_files

COMMIT, OLDER = "a" * 40, "b" * 40
PLAIN = {"config.json": b"{}", "tokenizer.json": b"{} ", "model.safetensors": b"weights"}
INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()
SHARDED = {"config.json": b"{}", "tokenizer.json": b"{} ", "model.safetensors.index.json": INDEX}
SHARDED |= {"model-1.safetensors": b"1", "model-2.safetensors": b"2"}

PROCESS = """
import json, sys, time
from gigarank.catalogue import find
from gigarank.engine.store import locate, present
from gigarank.errors import GigarankError
answers = []
for name, revision in json.loads(sys.argv[1]):
    steps, start = [], time.monotonic()
    try:
        more = {"weights": False} if name.startswith("words/") else {}
        found = locate(name, revision=revision, progress=lambda *step: steps.append(step), **more)
        answer = {"name": found.name, "folder": str(found.folder), "source": found.source}
        answer["present"] = str(present(found.model)) if found.model else None
    except GigarankError as error:
        answer = {"error": type(error).__name__, "message": error.message, "param": error.param}
    answers.append(answer | {"steps": steps, "seconds": time.monotonic() - start})
print(json.dumps(answers))
"""


Asked = str | tuple[str, str]


def located(home: Path, *names: Asked, **environment: str) -> list[dict[str, Any]]:
    asked = [name if isinstance(name, tuple) else (name, None) for name in names]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PIP_", "GIGARANK_", "XDG_"))}
    own = {"HF_HOME": str(home / "hf"), "GIGARANK_CACHE": str(home / "cache"), "PIP_NO_INDEX": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", PROCESS, json.dumps(asked)],
        env=kept | own | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=home,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    answers: list[dict[str, Any]] = json.loads(ran.stdout)
    return answers


def put_in_cache(home: Path, repository: str, files: dict[str, bytes], commit: str = COMMIT, ref: str = "main") -> Path:
    folder = home / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    for name, content in files.items():
        (snapshot / name).write_bytes(content)
    return snapshot


def serve(server: Any, repository: str, files: dict[str, bytes]) -> None:
    """A hub's answers for one repository: what it is, its tree, its files."""
    tree = [{"type": "file", "path": name, "size": len(body), "oid": name} for name, body in files.items()]
    about = json.dumps({"id": repository, "sha": COMMIT, "siblings": []}).encode()
    api = f"/api/models/{repository}"
    answers = {api: about, f"{api}/revision/main": about, f"{api}/revision/v1": about}
    answers[f"{api}/tree/{COMMIT}"] = json.dumps(tree).encode()
    server.files |= answers
    server.types |= dict.fromkeys(answers, "application/json")
    server.files |= {f"/{repository}/resolve/{COMMIT}/{name}": body for name, body in files.items()}
    server.headers["X-Repo-Commit"] = COMMIT


def test_what_the_cache_holds_is_found_offline(tmp_path: Path) -> None:
    official = put_in_cache(tmp_path, "Qwen/Qwen3-Reranker-0.6B", PLAIN)
    sharded = put_in_cache(tmp_path, "org/sharded", SHARDED)
    older = put_in_cache(tmp_path, "org/sharded", PLAIN, OLDER, ref="v1")
    lacking = {name: body for name, body in SHARDED.items() if name != "model-2.safetensors"}
    put_in_cache(tmp_path, "org/lacking", lacking)
    names: list[Asked] = ["0.6b", "Qwen/Qwen3-Reranker-0.6B", "org/sharded", ("org/sharded", "v1"), ("org/sharded", OLDER)]
    found = located(tmp_path, *names, "org/lacking", "org/absent", HF_HUB_OFFLINE="1")
    expected = [official, official, sharded, older, older]
    assert [answer.get("folder") for answer in found] == [str(folder) for folder in expected] + [None, None]
    assert found[0]["name"] == "qwen3-reranker-0.6b"
    assert found[0]["present"] == str(official)
    assert [answer["error"] for answer in found[5:]] == ["ModelUnavailable"] * 2
    assert "HF_HUB_OFFLINE" in found[6]["message"]
    misspelt, known = located(tmp_path, "Qwen/Qwen3-Rerank-4B", "Qwen/Qwen3-Reranker-4B", HF_HUB_OFFLINE="1")
    assert "nearest known names: " in misspelt["message"] and "Qwen/Qwen3-Reranker-4B" in misspelt["message"]
    assert "nearest" not in known["message"]


def test_the_hubs_own_cache_switch_is_followed(tmp_path: Path) -> None:
    snapshot = put_in_cache(tmp_path, "org/model", PLAIN)
    moved = {"HF_HOME": str(tmp_path / "elsewhere"), "HF_HUB_CACHE": str(tmp_path / "hf" / "hub")}
    assert located(tmp_path, "org/model", HF_HUB_OFFLINE="1", **moved)[0]["folder"] == str(snapshot)


def test_what_is_missing_is_fetched_and_then_kept(tmp_path: Path, loopback: Any) -> None:
    serve(loopback, "org/model", PLAIN | {"README.md": b"not asked for", "pytorch_model.bin": b"nor this"})
    first, second, third = located(tmp_path, "org/model", "org/model", ("org/model", "v1"), HF_ENDPOINT=loopback.url)
    assert {path.name for path in Path(first["folder"]).iterdir()} == PLAIN.keys()
    assert (first["source"], first["name"]) == ("hub", "org/model")
    assert first["steps"][-1][1:] == [len(b"".join(PLAIN.values()))] * 2
    assert second["folder"] == third["folder"] == first["folder"]
    assert second["steps"] == []
    loopback.close()
    assert located(tmp_path, "org/model", HF_ENDPOINT=loopback.url)[0]["folder"] == first["folder"]


def test_a_config_and_a_tokenizer_are_fetched_alone_where_weights_are_not_wanted(tmp_path: Path, loopback: Any) -> None:
    serve(loopback, "words/model", SHARDED | {"gigarank.json": b"{}"})
    first, second = located(tmp_path, "words/model", "words/model", HF_ENDPOINT=loopback.url)
    assert {path.name for path in Path(first["folder"]).iterdir()} == {"config.json", "tokenizer.json", "gigarank.json"}
    assert second["folder"] == first["folder"] and second["steps"] == []
    (nothing,) = located(tmp_path, "words/absent", HF_ENDPOINT=loopback.url)
    assert nothing["error"] == "UnknownModel"


def test_a_cache_that_lacks_a_shard_is_completed(tmp_path: Path, loopback: Any) -> None:
    serve(loopback, "org/model", SHARDED)
    put_in_cache(tmp_path, "org/model", {name: body for name, body in SHARDED.items() if "-2" not in name})
    found = located(tmp_path, "org/model", HF_ENDPOINT=loopback.url)[0]
    assert (Path(found["folder"]) / "model-2.safetensors").read_bytes() == b"2"


def test_what_the_hub_refuses_is_told_apart(tmp_path: Path, loopback: Any) -> None:
    serve(loopback, "org/no-weights", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    serve(loopback, "org/model", PLAIN)
    loopback.status["/api/models/org/down"] = 503
    loopback.status |= {"/api/models/org/private": 401, "/api/models/org/gated": 403}
    loopback.error_codes |= {"/api/models/org/private": "RepoNotFound", "/api/models/org/gated": "GatedRepo"}
    loopback.error_codes["/api/models/org/model/revision/v9"] = "RevisionNotFound"
    names: list[Asked] = ["org/absent", "org/private", "org/gated", ("org/model", "v9"), "org/no-weights", "org/down"]
    *unknown, revision, weightless, down = located(tmp_path, *names, HF_ENDPOINT=loopback.url)
    assert (weightless["error"], down["error"]) == ("CheckpointError", "ModelUnavailable")
    assert "tokenizer.json, *.safetensors" in weightless["message"]
    assert "503" in down["message"]
    assert [(answer["error"], answer["param"]) for answer in unknown] == [("UnknownModel", "model")] * 3
    assert "org/absent: the hub has no such repository" in unknown[0]["message"]
    assert "nearest" in unknown[0]["message"]
    assert "accept it on the model's page, then set HF_TOKEN" in unknown[2]["message"]
    assert (revision["error"], revision["param"]) == ("UnknownModel", "revision")


def test_a_hub_out_of_reach_is_known_within_seconds(tmp_path: Path) -> None:
    """Nobody listens on port 9; the other address takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for endpoint in ("http://127.0.0.1:9", f"http://127.0.0.1:{silent.getsockname()[1]}"):
            answer = located(tmp_path, "org/model", HF_ENDPOINT=endpoint)[0]
            assert answer["error"] == "ModelUnavailable"
            assert endpoint in answer["message"]
            assert answer["seconds"] < 15


def test_what_nano_is_made_of_comes_from_the_hub_where_no_registry_has_it(tmp_path: Path, loopback: Any) -> None:
    serve(loopback, "HuggingFaceTB/SmolLM2-135M-Instruct", PLAIN)
    first, by_id = located(tmp_path, "nano-base", "HuggingFaceTB/SmolLM2-135M-Instruct", HF_ENDPOINT=loopback.url)
    folder = Path(first["folder"])
    assert (first["name"], first["source"]) == ("nano-base", "hub")
    assert folder == tmp_path / "cache" / "models" / f"nano-base-hub-{COMMIT[:8]}"
    record = json.loads((folder / "provenance.json").read_text())
    assert (record["source"], record["revision"]) == ("hub", COMMIT)
    assert json.loads((folder / "gigarank.json").read_text()) == {"prompt": "nano-v1"}
    assert {name: (folder / name).read_bytes() for name in PLAIN} == PLAIN
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (by_id["name"], by_id["source"]) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "hub")
    loopback.close()
    assert located(tmp_path, "nano-base", HF_ENDPOINT=loopback.url)[0]["folder"] == first["folder"]


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (PLAIN, []),
        (SHARDED, []),
        ({}, ["config.json", "tokenizer.json", "*.safetensors"]),
        ({**SHARDED, "model.safetensors.index.json": b"["}, ["readable model.safetensors.index.json"]),
        ({**SHARDED, "model.safetensors.index.json": b"[]"}, ["readable model.safetensors.index.json"]),
    ],
)
def test_what_a_folder_lacks_is_named(tmp_path: Path, files: dict[str, bytes], missing: list[str]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert missing_files(tmp_path) == missing
