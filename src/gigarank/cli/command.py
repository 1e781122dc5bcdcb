"""A command's options as one frozen value: a dataclass whose fields carry typer's annotations becomes its signature.

Knows no command. Invariant: what `--help` lists is what the dataclass holds, in its order.
"""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, get_type_hints

import typer


@dataclass(slots=True)
class Invocation:
    """What one run of the program knows before it knows its command."""

    debug: bool = False


def _remember_debug(context: typer.Context, value: bool) -> bool:
    if value:
        context.find_root().obj.debug = True
    return value


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_remember_debug)]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Options = TypeVar("Options", bound=_Dataclass)


def as_command(options: type[Options], work: Callable[[Options], None]) -> Callable[..., None]:
    """The function that typer registers: it builds `options` from the command line and hands it to `work`."""

    def run(**values: Any) -> None:
        work(options(**values))

    hints = get_type_hints(options, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(options)
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = work.__name__, work.__doc__
    return run
