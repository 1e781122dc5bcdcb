"""Every use that is wrong is one line on standard error, exit code 2, and nothing on standard output."""

import pytest

from gigarank.cli import app, failures

USAGE: list[tuple[list[str], str]] = [
    (["rank"], "Missing argument 'QUERY'. (see gigarank rank --help)"),
    (["rank", ""], "query: empty; a text is needed"),
    (["rank", " \n"], "query: empty; a text is needed"),
    (["rank", "q", "--instruction", ""], "instruction: empty; a text is needed"),
    (["rank", b"caf\xe9".decode(errors="surrogateescape")], "query: not UTF-8"),
    (["rank", "q", "--top-n", "0"], "Invalid value for '--top-n': Input should be greater than or equal to 1"),
    (["rank", "q", "--top-n", "many"], "Invalid value for '--top-n': "),
    (["rank", "q", "--format", "xml"], "'xml' is not one of 'text', 'lines', 'jsonl', 'csv'"),
    (["rank", "q", "--dtype", "int3"], "'int3' is not one of 'auto', 'fp32'"),
    (["rank", "q", "--overlap-tokens", "5"], "--overlap-tokens needs --windows"),
    (["rank", "q", "--max-windows", "5"], "--max-windows needs --windows"),
    (["rank", "q", "--max-windows", "0", "--windows"], "Invalid value for '--max-windows': "),
    (
        ["rank", "q", "--model", "qwen3-embedding-0.6b"],
        "is no reranker; it runs with `gigarank embed`",
    ),
    (["rank", "q", "--colour"], "No such option: --colour"),
    (["rank", "q", "/nowhere/to/be/found.txt"], "documents: /nowhere/to/be/found.txt: no such file"),
    (["rank", "q", "/"], "documents: /: is a folder; name the files in it"),
    (["rnak", "q"], "No such command 'rnak'. Did you mean 'rank'?"),
    (["embed", "--model", "nano"], "model: nano is no embedder; it runs with `gigarank rank`"),
    (["embed", "--task", "Find"], "task: only queries have one; add --query"),
    (["embed", "--output", "vectors.txt"], "output: vectors.txt must end in .npy or .jsonl"),
    (["embed", "--output", "/"], "output: /: is a folder"),
    (["embed", "--output", "/nowhere/vectors.npy"], "output: /nowhere/vectors.npy: the folder for it does not exist"),
    (["models", "show", "nanoo"], "model: 'nanoo' is no known model, no folder and no hub id; nearest: nano"),
    (["models", "show", "qwen-reranker"], "nearest: qwen3-reranker-"),
    (["rank", "q", __file__, "--model", "nanno"], "nearest: nano"),
]


@pytest.mark.parametrize(("arguments", "message"), USAGE)
def test_bad_usage(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert failures.run(app, arguments) == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("gigarank: error: ") and shown.err.count("\n") == 1
    assert message in shown.err
