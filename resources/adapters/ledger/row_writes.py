"""One statement for many rows, handed to SQLite's driver as it wants them.

SQLAlchemy makes each row of such a call ready by itself, and takes about as long for it as SQLite
takes to write it. Here the statement is compiled once, and rows become tuples. PostgreSQL's driver
gets them from SQLAlchemy, which sends many rows in one message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.dml import UpdateBase


@dataclass(frozen=True)
class _Compiled:
    """A statement for the driver.

    Args:
        names: Its parameters in their order.
        fixed: Values that the statement itself brings, by name.
        processors: What a column's type does to a value before it is written, by place.
    """

    sql: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    processors: tuple[tuple[int, Callable[[Any], Any]], ...]

    def values_of(self, row: Mapping[str, Any]) -> Sequence[Any]:
        whole = {**self.fixed, **row} if self.fixed else row
        values = [whole[name] for name in self.names]
        for place, process in self.processors:
            values[place] = process(values[place])
        return values


class RowWrites:
    """An INSERT or UPDATE that is run for many rows at a time.

    Args:
        statement: Its parameters are named as the rows' keys.
        dialect: Of the database.
    """

    def __init__(self, statement: UpdateBase, dialect: Dialect) -> None:
        self._statement = statement
        self._dialect = dialect
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of the rows, which all have the same keys; for none it does nothing."""
        if not rows:
            return
        if not self._is_for_driver:
            connection.execute(self._statement, list(rows))
            return
        keys = tuple(rows[0])
        compiled = self._compiled.get(keys)
        if compiled is None:
            compiled = self._compiled[keys] = self._compile(keys)
        connection.exec_driver_sql(compiled.sql, [tuple(compiled.values_of(row)) for row in rows])

    @cached_property
    def _is_for_driver(self) -> bool:
        return self._dialect.name == "sqlite"

    def _compile(self, keys: tuple[str, ...]) -> _Compiled:
        compiled: Any = self._statement.compile(dialect=self._dialect, column_keys=list(keys))
        names = tuple(compiled.positiontup)
        types = [compiled.binds[name].type.dialect_impl(self._dialect) for name in names]
        processors = [one.bind_processor(self._dialect) for one in types]
        return _Compiled(
            sql=str(compiled),
            names=names,
            fixed={name: value for name, value in compiled.params.items() if name not in keys},
            processors=tuple(
                (place, process) for place, process in enumerate(processors) if process is not None
            ),
        )
