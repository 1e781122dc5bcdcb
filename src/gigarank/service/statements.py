"""What every request asks of the database: built once, and given to the driver as it is.

SQLAlchemy needs several times as long to run a statement as the database does. Knows no table. Invariants: what is asked is a
part of the transaction whose connection it is given; its errors are SQLAlchemy's, as those of any other statement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Delete, Insert, Select, Update

from gigarank.service.db import begun, driver_errors

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """`count`: of rows that were found or changed."""

    rows: Sequence[Row]
    count: int

    @property
    def first(self) -> Row | None:
        return self.rows[0] if self.rows else None


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement as a driver takes it. `names`: of the values, in their order; `fixed`: those that are the statement's own."""

    text: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]


class Statement:
    """`core`: without a list of values that grows. `columns`: whose values it is given, beside its own parameters. Its values
    are texts, whole numbers and None, which every driver takes as they are."""

    def __init__(self, core: Select[Any] | Insert | Update | Delete, columns: Iterable[str] = ()) -> None:
        self._core = core
        self._given = list(columns)
        self._found = tuple(column.name for column in core.exported_columns)
        self._texts: dict[str, _Text] = {}

    def __call__(self, given: Mapping[str, Any]) -> "Ask":
        return Ask(self, given)

    def text(self, connection: Connection) -> _Text:
        """Built where it is asked of a kind of database for the first time."""
        name = connection.dialect.name
        if name not in self._texts:
            compiled: Any = self._core.compile(dialect=connection.dialect, column_keys=self._given or None)
            fixed = {key: one.value for key, one in compiled.binds.items() if not one.required}
            self._texts[name] = _Text(compiled.string, tuple(compiled.positiontup or ()), fixed)
        return self._texts[name]

    def found(self, cursor: Any) -> Found:
        rows = [dict(zip(self._found, row, strict=True)) for row in cursor.fetchall()] if self._found else []
        return Found(rows, cursor.rowcount)


class Ask(NamedTuple):
    """A statement and its values."""

    statement: Statement
    given: Mapping[str, Any]


def ask(connection: Connection, *asked: Ask) -> list[Found]:
    """One after another; PostgreSQL gets all of them at once, which saves the waiting between them. Where one fails those after
    it are not run. Raises DBAPIError."""
    begun(connection)
    ready = [(one.statement, one.statement.text(connection), one.given) for one in asked]
    with driver_errors(connection) as driver:
        if connection.dialect.name == "sqlite":
            return [one.found(driver.execute(text.text, _listed(text, given))) for one, text, given in ready]
        if len(ready) == 1:
            ((one, text, given),) = ready
            return [one.found(driver.execute(text.text, {**text.fixed, **given}))]
        with driver.pipeline():
            cursors = [driver.execute(text.text, {**text.fixed, **given}) for _, text, given in ready]
        return [one.found(cursor) for (one, _, _), cursor in zip(ready, cursors, strict=True)]


def first(connection: Connection, asked: Ask) -> Row | None:
    (found,) = ask(connection, asked)
    return found.first


def count(connection: Connection, asked: Ask) -> int:
    (found,) = ask(connection, asked)
    return found.count


def _listed(text: _Text, given: Mapping[str, Any]) -> tuple[Any, ...]:
    values = {**text.fixed, **given} if text.fixed else given
    return tuple([values[name] for name in text.names])
