"""Measures models over a folder of sets and writes the tables of docs/quality.md anew.

    python scripts/quality.py DATA [--run NAME=MODEL[+ADAPTER] ...] [--adapter FOLDER] [--set NAME ...] [--limit N]
        [--top-k N] [--max-tokens N] [--full] [--measured]

DATA holds BEIR folders, which are not in this repository; the page says where they come from. Without `--run` nano is measured;
`--adapter` adds nano with a LoRA adapter. Several runs stand side by side, each compared with the first. A run that was ended
goes on where it was. `--set` measures single sets and prints their tables; `--measured` makes the page from results that are
there. Invariant: every figure of the tables is read from a result; the words around them are not touched.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gigarank.errors import GigarankError
from gigarank.evaluation.quality_page import measured_text, sets_table
from gigarank.evaluation.report_data import About, Measured, read_about, read_measured
from gigarank.evaluation.report_pages import table_to_markdown
from gigarank.evaluation.task import slug

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "quality.md"
SETS = Path(__file__).with_name("quality_sets.toml")
SETTINGS, TOKENS = ("--fuse", "--dtype", "bf16"), 2048
QUERIES, CANDIDATES, FULL = 60, 50, ("--full",)
_MARKED = r"(<!-- {name} -->\n).*?(<!-- /{name} -->)"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What is measured under a name of one's own: a model, and the LoRA adapter that is merged into it."""

    name: str
    model: str
    adapter: Path | None = None

    @property
    def options(self) -> tuple[str, ...]:
        return ("--model", self.model, *(() if self.adapter is None else ("--adapter", str(self.adapter))))


def run_spec(text: str) -> RunSpec:
    """NAME=MODEL+ADAPTER, NAME=MODEL or MODEL."""
    name, parted, rest = text.partition("=")
    model, _, adapter = (rest if parted else name).partition("+")
    if not name or not model:
        raise argparse.ArgumentTypeError(f"must be NAME=MODEL, NAME=MODEL+ADAPTER or MODEL, not {text!r}")
    return RunSpec(name if parted else model, model, Path(adapter) if adapter else None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    specs = asked.run or [RunSpec("nano", "nano")]
    specs += [RunSpec(f"nano with {folder.resolve().name}", "nano", folder) for folder in asked.adapter]
    if len({slug(spec.name) for spec in specs}) < len(specs):
        parser.error(f"two runs need two names, not {', '.join(spec.name for spec in specs)}")
    results: Path = asked.results or Path("results-full" if asked.full else "results")
    for spec in () if asked.measured else specs:
        depth = FULL if asked.full else ("--limit", str(asked.limit), "--top-k", str(asked.top_k))
        depth = (*depth, "--max-tokens", str(asked.max_tokens))
        run(spec, [asked.data / name for name in asked.set] or [asked.data], results, depth)
    about = read_about(SETS)
    runs = {spec.name: read_run(spec, results, asked.data, about, asked.set) for spec in specs}
    page = asked.page or (None if asked.set else PAGE)
    try:
        text = measured_text(runs, {name: about[name] for name in asked.set if name in about} if asked.set else about)
    except GigarankError as error:
        raise SystemExit(f"quality: {error.message}") from error
    if page is None:
        print(text)
    else:
        write_page(page, text, about)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of the sets")
    parser.add_argument("--run", type=run_spec, action="append", default=[], help="NAME=MODEL[+ADAPTER] (nano)")
    parser.add_argument(
        "--adapter", type=Path, action="append", default=[], help="a LoRA folder: nano with it, beside the rest"
    )
    parser.add_argument("--results", type=Path, help="where results are kept (results; with --full results-full)")
    parser.add_argument("--limit", type=int, default=QUERIES, help=f"queries a set ({QUERIES})")
    parser.add_argument("--max-tokens", type=int, default=TOKENS, help=f"of prompt and document together ({TOKENS})")
    parser.add_argument("--top-k", type=int, default=CANDIDATES, help=f"candidates a query ({CANDIDATES})")
    parser.add_argument("--full", action="store_true", help="every query and candidate, not --limit and --top-k")
    parser.add_argument("--measured", action="store_true", help="run nothing: only from the results that are there")
    parser.add_argument("--set", action="append", default=[], help="this set only, its tables printed; may be given again")
    parser.add_argument("--page", type=Path, help="the page (docs/quality.md)")
    return parser


def run(spec: RunSpec, places: Sequence[Path], results: Path, depth: Sequence[str]) -> None:
    """`gigarank eval run`, as the page shows it."""
    data = [part for place in places for part in ("--data", str(place))]
    program = [sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())"]
    settings = (*spec.options, *depth, *SETTINGS, "--output", str(results / slug(spec.name)))
    if found := subprocess.run([*program, "eval", "run", *data, *settings], check=False, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(found)


def read_run(spec: RunSpec, results: Path, data: Path, about: dict[str, About], sets: Sequence[str]) -> list[Measured]:
    """The results of one run, under its own name; of these sets only, if any are named."""
    measured, _ = read_measured(results / slug(spec.name), [data], about)
    chosen = [one for one in measured if not sets or one.result.set.name in sets]
    return [replace(one, result=replace(one.result, model=replace(one.result.model, name=spec.name))) for one in chosen]


def write_page(page: Path, text: str, about: dict[str, About]) -> None:
    """Puts what is made between the page's markers; a page without them is refused."""
    written = page.read_text(encoding="utf-8")
    for name, content in (("measured", text), ("sets", table_to_markdown(sets_table(about)))):
        written = _between(written, name, content, page)
    page.write_text(re.sub(r"\n{3,}", "\n\n", written), encoding="utf-8")


def _between(text: str, name: str, content: str, page: Path) -> str:
    pattern = re.compile(_MARKED.format(name=name), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{page}: has no <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text)


if __name__ == "__main__":
    sys.exit(main())
