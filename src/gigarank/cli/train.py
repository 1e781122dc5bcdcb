"""`gigarank train`: data, training, merging and export of rerankers and embedders.

Knows the commands' names. Invariant: what can be refused is refused before a model is loaded, and no command writes over
what is there.
"""

import typer

from gigarank.cli.command import as_command
from gigarank.cli.train_export import ExportCommand, MergeCommand, export, merge
from gigarank.cli.train_prepare import (
    ImportCommand,
    MineCommand,
    OverlapCommand,
    SynthesisCommand,
    mine,
    overlap,
    queries,
    rows,
)
from gigarank.cli.train_run import RunCommand, run
from gigarank.cli.train_teach import TeachCommand, teach


def _epilog(*commands: str) -> str:
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  gigarank train {command}" for command in commands)


app = typer.Typer(
    help="Train a model: prepare data, run a recipe, merge and export what came out.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    epilog=_epilog("run recipe.toml --output out", "export nano --adapter out --output mine"),
)
prepare = typer.Typer(
    help="Training data: import it, clean it of evaluation data, mine negatives, make queries, add a teacher's scores.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)
app.add_typer(prepare, name="prepare")

prepare.command(
    "import", epilog=_epilog("prepare import pairs.jsonl --output rows.jsonl", "prepare import scifact --output rows.jsonl")
)(as_command(ImportCommand, rows))
prepare.command("mine", epilog=_epilog("prepare mine rows.jsonl --output mined.jsonl --negatives 7"))(
    as_command(MineCommand, mine)
)
prepare.command("overlap", epilog=_epilog("prepare overlap rows.jsonl --against scifact --output clean.jsonl"))(
    as_command(OverlapCommand, overlap)
)
prepare.command(
    "queries",
    epilog=_epilog("prepare queries notes.jsonl --url http://127.0.0.1:8080/v1 --chat-model my-model --output rows.jsonl"),
)(as_command(SynthesisCommand, queries))
prepare.command(
    "teach",
    epilog=_epilog("prepare teach rows.jsonl --teacher query-likelihood --teacher bm25 --output taught.jsonl"),
)(as_command(TeachCommand, teach))
app.command(epilog=_epilog("run recipe.toml --output out", "run recipe.toml --output out --check --json"))(
    as_command(RunCommand, run)
)
app.command(
    epilog=_epilog("merge nano --adapter out --output merged", "merge step-100 step-200 --method slerp --output merged")
)(as_command(MergeCommand, merge))
app.command(
    epilog=_epilog("export nano --adapter out --output mine --data 'my tickets=proprietary:1200' --recipe recipe.toml")
)(as_command(ExportCommand, export))
