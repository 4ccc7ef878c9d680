"""The page of tables, from their metadata."""

import re
from pathlib import Path

from sqlalchemy import Column, Table
from sqlalchemy.dialects import mysql

from bouncer.storage.tables import Base
from tests.docs.markdown import first_part, table
from tests.docs.reference.meanings import COLUMNS

__all__ = ["meanings_of_columns", "tables_page"]

_DECISIONS = Path(__file__).parents[3] / "docs" / "decisions.md"
_NAME = re.compile(r"`(\w+\.\w+)`")
_DIALECT = mysql.dialect()


def tables_page() -> str:
    """Each table with its columns, as they are on MariaDB and MySQL."""
    meanings = meanings_of_columns()
    parts = [
        "# Tables",
        (
            "Types are those of MariaDB and MySQL; SQLite has what comes nearest. All times are UTC. Why a column is "
            "there that the plan for this project did not have is told in [the decisions](../decisions.md)."
        ),
    ]
    for mapper in sorted(Base.registry.mappers, key=lambda mapper: str(mapper.local_table.description)):
        parts += _table(mapper.class_.__table__, mapper.class_.__doc__, meanings)
    return "\n\n".join(parts)


def meanings_of_columns() -> dict[str, str]:
    """What each column is for, by ``Table.column``: from docs/decisions.md, else from the list beside this."""
    found: dict[str, str] = {}
    for line in _DECISIONS.read_text().splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) == 4:
            found.update(dict.fromkeys(_NAME.findall(cells[1]), cells[2].strip()))
    return {**found, **COLUMNS}


def _table(of: Table, docstring: str | None, meanings: dict[str, str]) -> list[str]:
    rows = [
        (
            f"`{column.name}`",
            f"`{column.type.compile(dialect=_DIALECT)}`",
            _default(column),
            _key(column),
            meanings.get(f"{of.name}.{column.name}", ""),
        )
        for column in of.columns
    ]
    indexes = sorted(f"`{index.name}` ({', '.join(map(_words, index.expressions))})" for index in of.indexes)
    return [
        f"## `{of.name}`",
        first_part(docstring),
        table(("column", "type", "default", "key", "meaning"), rows),
        *([f"Indexes: {', '.join(indexes)}."] if indexes else []),
    ]


def _default(column: "Column[object]") -> str:
    if column.server_default is not None:
        return f"`{str(getattr(column.server_default, 'arg', '')).strip(chr(39))}`"
    if column is column.table.autoincrement_column:
        return "the next number"
    return "NULL" if column.nullable else "must be given"


def _key(column: "Column[object]") -> str:
    words = ["primary"] if column.primary_key else ["unique"] if column.unique else []
    return ", ".join([*words, *(f"of `{key.target_fullname}`" for key in column.foreign_keys)])


def _words(expression: object) -> str:
    return str(getattr(expression, "name", expression))
