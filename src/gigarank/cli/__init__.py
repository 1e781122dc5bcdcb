"""The command line: `gigarank rank`, `rank-many`, `embed`, `serve`, `models`, `doctor`, `admin`, `bench`, `plan`, `eval`,
`train`.

Knows the layers below by what they promise. Invariant: torch, transformers, tokenizers and numpy are imported inside
the commands, so that `gigarank --help` answers at once.
"""

from typing import Annotated

import typer

from gigarank import __version__
from gigarank.cli import admin, bench, evaluate, failures, models, train
from gigarank.cli.command import Debug, as_command
from gigarank.cli.doctor import doctor
from gigarank.cli.embed import EmbedOptions, embed
from gigarank.cli.output import emit
from gigarank.cli.plan import PlanOptions, plan
from gigarank.cli.rank import RankOptions, rank
from gigarank.cli.rank_many import RankManyOptions, rank_many
from gigarank.cli.serve import ServeOptions, serve

_EXIT_CODES = """

[bold]Exit codes[/]

  0  done
  1  a check of doctor or bench failed, or gigarank itself
  2  bad usage or bad input
  3  the model is missing, broken or cannot run here
  4  a full disk or another failure of input or output
  130  Ctrl-C"""


def _examples(*commands: str) -> str:
    return "[bold]Examples[/]\n\n" + "\n".join(f"  gigarank {command}" for command in commands) + _EXIT_CODES


app = typer.Typer(
    cls=failures.Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples('rank "how do plants make food" notes.txt more.jsonl', "models", "doctor"),
)


def _print_version(value: bool) -> None:
    if value:
        emit(f"gigarank {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Debug = False,
) -> None:
    """Rank documents against a query with the Qwen3-Reranker models."""


app.command(
    epilog=_examples(
        'rank "how do plants make food" leaves.txt roots.txt',
        'rank "refund policy" tickets.jsonl --field body --top-n 5',
        'grep -rh "timeout" logs | gigarank rank "why did the upload fail" --json',
        'rank "notice period" contract.txt --windows --model 0.6b',
    ).replace("gigarank grep", "grep")
)(as_command(RankOptions, rank))
app.command(
    "rank-many",
    epilog=_examples(
        "rank-many pairs.parquet scored",
        "rank-many s3://bucket/queries s3://bucket/ranked --top-n 10 --model 0.6b --cluster auto",
    ),
)(as_command(RankManyOptions, rank_many))
app.command(epilog=_examples("embed notes.jsonl --output notes.npy", "embed questions.txt --format lines --query"))(
    as_command(EmbedOptions, embed)
)
app.command(
    epilog=_examples(
        "serve",
        "serve --model Qwen/Qwen3-Reranker-0.6B --model nano --port 8080",
        "serve --host 0.0.0.0 --api-keys-file keys.txt",
        "serve --config gigarank.toml",
    )
)(as_command(ServeOptions, serve))
app.add_typer(models.app, name="models")
app.command(epilog=_examples("doctor", "doctor Qwen/Qwen3-Reranker-0.6B", "doctor ./my-checkpoint --json"))(doctor)
app.add_typer(admin.app, name="admin")
app.add_typer(bench.app, name="bench")
app.command(
    epilog=_examples(
        "plan --rate 12 --documents 20 --tokens 140 --model 8b --hardware h100 --slo p99=500ms",
        "plan --rate 2 --documents 5 --tokens 40 --profile costs.json --replicas 2 --json",
    )
)(as_command(PlanOptions, plan))
app.add_typer(evaluate.app, name="eval")
app.add_typer(train.app, name="train")


def main() -> int:
    """The console script: run the command line, return its exit code."""
    return failures.run(app)
