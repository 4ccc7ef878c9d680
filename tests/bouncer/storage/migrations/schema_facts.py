"""A database's tables as plain facts, in words that MariaDB and MySQL share, to compare one with another."""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Engine, text

Fact = tuple[Any, ...]

_TABLES = "SELECT table_name, engine, table_collation FROM information_schema.tables WHERE table_schema = DATABASE()"
_COLUMNS = """
    SELECT table_name, column_name, ordinal_position, column_type, is_nullable, column_default, extra, collation_name
    FROM information_schema.columns WHERE table_schema = DATABASE()
"""
_KEYS = """
    SELECT table_name, index_name, non_unique, column_name, collation, sub_part
    FROM information_schema.statistics WHERE table_schema = DATABASE()
    ORDER BY table_name, index_name, seq_in_index
"""
_FOREIGN_KEYS = """
    SELECT table_name, constraint_name, column_name, k.referenced_table_name, referenced_column_name,
           update_rule, delete_rule
    FROM information_schema.key_column_usage k
    JOIN information_schema.referential_constraints r USING (constraint_schema, constraint_name, table_name)
    WHERE constraint_schema = DATABASE()
    ORDER BY table_name, constraint_name, ordinal_position
"""
# MySQL, where a name is a constraint's alone, has no name of a table here.
_CHECKS = """
    SELECT t.table_name, c.constraint_name, c.check_clause
    FROM information_schema.check_constraints c
    JOIN information_schema.table_constraints t USING (constraint_schema, constraint_name)
    WHERE c.constraint_schema = DATABASE() AND t.constraint_type = 'CHECK'
    ORDER BY t.table_name, c.constraint_name
"""


def facts(engine: Engine) -> dict[str, Fact]:
    """Everything that information_schema knows about the tables, by name of table, column or key.

    The names read ``Table``, ``Table.column``, ``Table key NAME``, ``Table foreign key NAME``, ``Table check NAME``.
    """
    found: dict[str, Fact] = {}
    with engine.connect() as connection:

        def rows(statement: str) -> Iterable[tuple[Any, ...]]:
            return [tuple(row) for row in connection.execute(text(statement))]

        found.update((table, tuple(rest)) for table, *rest in rows(_TABLES))
        found.update((f"{table}.{column}", _column(*rest)) for table, column, *rest in rows(_COLUMNS))
        for kind, statement in (("key", _KEYS), ("foreign key", _FOREIGN_KEYS), ("check", _CHECKS)):
            for (table, name), parts in groupby(rows(statement), key=lambda row: row[:2]):
                found[f"{table} {kind} {name}"] = tuple(_shared(part[2:]) for part in parts)
    return found


def _column(position: int, kind: str, nullable: str, default: str | None, extra: str, collation: str | None) -> Fact:
    # MySQL tells no display width but tinyint's. MariaDB quotes a text and writes NULL where there is no default.
    if default is not None:
        default = re.sub(r"(?i)current_timestamp(\(\))?", "CURRENT_TIMESTAMP", default.strip("'"))
    extra = re.sub(r"(?i)DEFAULT_GENERATED ?|\(\)", "", extra).upper()
    return (
        position,
        re.sub(r"^((?:big|small)?int)\(\d+\)", r"\1", kind),
        nullable,
        None if default == "NULL" else default,
        extra,
        collation,
    )


def _shared(part: Fact) -> Fact:
    # To InnoDB both words mean the same.
    return tuple("RESTRICT" if value == "NO ACTION" else value for value in part)


def differences(one: dict[str, Fact], other: dict[str, Fact]) -> dict[str, tuple[Fact | None, Fact | None]]:
    """What two databases do not have in common; None stands for what one of them lacks."""
    return {
        name: (one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    }
