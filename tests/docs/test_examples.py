"""Every fenced block of the documentation is run, or says in a comment before it why it is not.

    ```python   run; the blocks of a page share their names, as in one session
    ```bash     run by bash, in a folder that holds examples/, with this environment's programs; where the server's address
                is in it, one that serves nano is asked
    ```text     straight after a block that is run: what it prints; numbers and the width of blanks are not compared

A block behind `<!-- not run: REASON -->` is left out; the reason is one of `REASONS`.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("python", "bash")
SHOWN = ("text", "json", "jsonl", "toml", "yaml", "javascript")
REASONS = (
    "needs the hub",
    "needs your files",
    "needs a client's package",
    "needs a server of its own",
    "installs packages",
    "takes minutes",
    "runs until it is ended",
    "needs a GPU",
    "works on the repository",
    "needs a letter",
)
ADDRESS = "http://127.0.0.1:8000"
NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?(e[+-]\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is its first code line in the page; `not_run` the reason given; `output` what it shall print."""

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None
    output: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name}:{self.line}"


def parse(page: Path, text: str) -> list[Block]:
    found: list[Block] = []
    pattern = re.compile(
        r"(?:^<!-- not run: (?P<reason>[^\n]*?) -->\n\s*)?^```(?P<language>\w*)\n(?P<code>.*?)^```$(?P<gap>\n*)", re.M | re.S
    )
    end_of_run, previous = -1, -1
    for match in pattern.finditer(text):
        language, code = match["language"], match["code"]
        if language == "text" and match.start() == end_of_run and previous >= 0:
            found[previous] = _with_output(found[previous], code)
            end_of_run = -1
            continue
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(page, line, language, code, match["reason"], None))
        runs = language in RUN and match["reason"] is None
        end_of_run, previous = (match.end() if runs else -1), len(found) - 1
    return found


def _with_output(block: Block, output: str) -> Block:
    return Block(block.page, block.line, block.language, block.code, block.not_run, output)


def comparable(text: str) -> list[str]:
    """Lines without numbers and with single blanks: order and words stay, digits may differ between machines."""
    return [" ".join(NUMBER.sub("#", line).split()) for line in text.strip().splitlines()]


BLOCKS = [block for page in PAGES for block in parse(page, page.read_text(encoding="utf-8"))]
PYTHON_PAGES = sorted({block.page for block in BLOCKS if block.language == "python" and block.not_run is None})
BASH = [block for block in BLOCKS if block.language == "bash" and block.not_run is None]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    assert block.language in (*RUN, *SHOWN), f"{block.place}: name the block's language: {', '.join((*RUN, *SHOWN))}"
    if block.not_run is not None:
        assert block.language in RUN, f"{block.place}: only blocks that could run are left out"
        assert block.not_run in REASONS, f"{block.place}: the reasons are: {', '.join(REASONS)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_comment_stands_without_its_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^<!-- not run", text, re.M)) == sum(block.not_run is not None for block in parse(page, text))
    assert text.count("\n```") == 2 * sum(1 + (block.output is not None) for block in parse(page, text))


def test_the_pages_show_what_they_must() -> None:
    readme = [block for block in BLOCKS if block.page.name == "README.md" and block.not_run is None]
    assert {block.language for block in readme} >= set(RUN)
    assert any(block.output for block in readme if block.language == "python")
    assert any("gigarank rank" in block.code and block.output for block in readme)


def run_python(blocks: list[Block]) -> None:
    """Runs a page's blocks one after the other with the same names, and compares what each prints."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        printed = io.StringIO()
        padding = "\n" * (block.line - 1)  # so that a traceback names the page's own line
        with contextlib.redirect_stdout(printed):
            exec(compile(padding + block.code, str(block.page), "exec"), names)
        if block.output is not None:
            assert comparable(printed.getvalue()) == comparable(block.output), block.place


def run_program(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs it with this environment's programs, and nothing to read."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": programs}
    return subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def run_bash(block: Block, folder: Path, address: str = ADDRESS) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples", dirs_exist_ok=True)
    done = run_program(["bash", "-euo", "pipefail", "-c", block.code.replace(ADDRESS, address)], folder)
    assert done.returncode == 0, f"{block.place}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    if block.output is not None:
        assert comparable(done.stdout) == comparable(block.output), block.place


@pytest.mark.nano
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.name)
def test_python_blocks_run_and_print_what_is_shown(page: Path, nano_folder: Path) -> None:
    run_python([block for block in BLOCKS if block.page == page and block.language == "python" and not block.not_run])


@pytest.mark.nano
@pytest.mark.parametrize("block", BASH, ids=lambda block: block.place)
def test_bash_blocks_run_and_print_what_is_shown(
    block: Block, nano_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run_bash(block, tmp_path, request.getfixturevalue("served") if ADDRESS in block.code else ADDRESS)


def photosynthesis() -> list[str]:
    """The texts of examples/multilingual.jsonl that answer the query of `make run`, in five languages."""
    rows = [json.loads(line) for line in (ROOT / "examples/multilingual.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["text"] for row in rows if re.search(r"photosynth|fotos[ií]nt|光合作用", row["text"], re.I)]


@pytest.mark.nano
def test_make_run_puts_the_right_documents_first_in_every_language(nano_folder: Path) -> None:
    query = re.search(r"^QUERY \?= (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert query is not None
    command = ["gigarank", "rank", query[1], "examples/multilingual.jsonl", "--json"]
    done = run_program(command, ROOT)
    assert done.returncode == 0, done.stderr
    ranked = [result["document"] for result in json.loads(done.stdout)["results"]]
    assert len(photosynthesis()) == 5
    assert set(ranked[:5]) == set(photosynthesis())
    assert len(ranked) > 5
    assert "far below the official" in done.stderr


@pytest.mark.nano
def test_the_example_program_ranks_as_make_run_does(nano_folder: Path) -> None:
    done = run_program([sys.executable, "examples/rerank.py"], ROOT)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.split("  ", 1)[1] in photosynthesis() for line in lines)


PAGE = """# A page
```python
x = 2
```
```python
print("b", x)
print("a", x + 1.5)
```

```text
b  9
a  -1.25e-3
```
words between

```text
no output
```
<!-- not run: needs the hub -->

```bash
false
```
```bash
ls examples
echo "a  12"
```
"""


def test_the_parser_finds_every_block_with_its_line_reason_and_output() -> None:
    blocks = parse(Path("page.md"), PAGE)
    assert [(b.line, b.language, b.not_run) for b in blocks] == [
        (3, "python", None),
        (6, "python", None),
        (17, "text", None),
        (22, "bash", "needs the hub"),
        (25, "bash", None),
    ]
    assert [b.output for b in blocks] == [None, "b  9\na  -1.25e-3\n", None, None, None]


def test_python_blocks_share_names_and_numbers_do_not_matter() -> None:
    run_python(parse(Path("page.md"), PAGE)[:2])


def test_another_order_of_lines_is_a_failure() -> None:
    swapped = PAGE.replace("b  9\na  -1.25e-3", "a  -1.25e-3\nb  9")
    with pytest.raises(AssertionError, match=r"page\.md:6"):
        run_python(parse(Path("page.md"), swapped)[:2])


def test_an_error_names_the_line_of_the_page() -> None:
    (block,) = parse(Path("page.md"), "text\n\n```python\nx = 1\nx.nothing\n```\n")
    with pytest.raises(AttributeError) as raised:
        run_python([block])
    assert raised.traceback[-1].lineno == 4  # counted from 0


def test_bash_blocks_fail_where_any_command_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:2: exit status 3"):
        run_bash(parse(Path("page.md"), "```bash\n(exit 3) | cat\necho fine\n```\n")[0], tmp_path)


def test_bash_blocks_see_the_examples(tmp_path: Path) -> None:
    (block,) = parse(Path("page.md"), "```bash\nls -d examples\necho 'a  12'\n```\n\n```text\nexamples\na 7\n```\n")
    run_bash(block, tmp_path)
