"""The steps of revisions: each adds what a database lacks, and leaves alone what is there.

Every step may be run again after it was cut short, because MariaDB and MySQL cannot roll changes of tables back.
"""

from collections.abc import Callable, Iterable
from typing import Any

from alembic import op
from sqlalchemy import (
    TIMESTAMP,
    Column,
    DefaultClause,
    Index,
    Inspector,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    exists,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.expression import TextClause
from sqlalchemy.sql.schema import SchemaItem

from bouncer.errors import SettingRefused

__all__ = [
    "NOW_AT_EVERY_UPDATE",
    "ensure_application_table",
    "ensure_columns",
    "ensure_table",
    "note_change",
    "require_application_table",
]


class _NowAtEveryUpdate(TextClause):
    inherit_cache = True


@compiles(_NowAtEveryUpdate)
def _now(_element: _NowAtEveryUpdate, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(_NowAtEveryUpdate, "mysql", "mariadb")
def _now_at_every_update(_element: _NowAtEveryUpdate, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"


NOW_AT_EVERY_UPDATE = _NowAtEveryUpdate("CURRENT_TIMESTAMP")
"""A default that MariaDB and MySQL renew at every update; on SQLite only the model's ``onupdate`` does."""


def require_application_table(name: str, key: str, *columns: str) -> None:
    """Checks that a table of the application, where there is one, can be read and referred to.

    Args:
        name: The table.
        key: Its column that foreign keys refer to.
        *columns: Further columns that it must have.

    Raises:
        SettingRefused: A column is missing, or the key is not a unique integer of an InnoDB table.
    """
    inspector = _inspector()
    if not inspector.has_table(name):
        return
    existing = _columns(inspector, name)
    for column in (key, *columns):
        if column.lower() not in existing:
            raise SettingRefused(
                f"The table {name} has no column {column}, which bouncer-flows reads; "
                "add it, or let DATABASE_URL name another database"
            )
    if not isinstance(existing[key.lower()]["type"], Integer):
        raise SettingRefused(f"{name}.{key} is not an integer, and bouncer-flows refers to contacts by integers only")
    if {key.lower()} not in _unique_keys(inspector, name):
        raise SettingRefused(f"{name}.{key} is not unique; make it the primary key, then try again")
    engine = inspector.get_table_options(name).get(f"{inspector.dialect.name}_engine", "InnoDB")
    if engine.lower() != "innodb":
        raise SettingRefused(
            f"{name} is stored by {engine}, which knows no foreign keys; run ALTER TABLE {name} ENGINE=InnoDB"
        )


def ensure_application_table(name: str, *items: SchemaItem) -> None:
    """Creates a table of the application, or adds the columns and indexes that the existing one lacks.

    An existing table gets no foreign keys: they would change what the application may write and delete.

    Args:
        name: The table.
        *items: Its columns and indexes; a column that an existing table may lack takes NULL or has a default.
    """
    table = _table(name, items, "utf8mb4")
    if _created(table):
        return
    _ensure_columns(table)
    _ensure_indexes(table)


def ensure_columns(name: str, *columns: Column[Any]) -> None:
    """Adds the columns that an existing table lacks."""
    _ensure_columns(Table(name, MetaData(), *columns))


def ensure_table(
    name: str, *items: SchemaItem, before_unique: Callable[[], None] | None = None, charset: str = "utf8mb3"
) -> None:
    """Creates a table, or adds what the existing one lacks: columns, permission for NULL, keys, indexes.

    Moments get their default too: where one has none, some servers move it at every update (NOW_AT_EVERY_UPDATE is
    for those that should be).

    Args:
        name: The table.
        *items: Its columns, constraints and indexes. A column with a foreign key and no type of its own takes the
            type of the column that it refers to, as the database has it.
        before_unique: Called before a unique key is added to an existing table, to tell equal rows apart.
        charset: Of a new table on MariaDB and MySQL; the plan's by default.

    Raises:
        SettingRefused: Rows of the existing table contradict a key.
    """
    table = _table(name, items, charset)
    if _created(table):
        return
    _ensure_columns(table)
    _ensure_nullable(table)
    _ensure_moments_stay(table)
    _ensure_foreign_keys(table)
    _ensure_unique_keys(table, before_unique)
    _ensure_indexes(table)


def _table(name: str, items: Iterable[SchemaItem], charset: str) -> Table:
    # mysql:// and mariadb:// are two dialects, and each reads its own options only.
    storage = {"engine": "InnoDB", "charset": charset, "collate": f"{charset}_unicode_ci"}
    options: dict[str, Any] = {
        f"{dialect}_{option}": value for dialect in ("mysql", "mariadb") for option, value in storage.items()
    }
    metadata = MetaData()
    table = Table(name, metadata, *items, **options)
    inspector = _inspector()
    for key in sorted(table.foreign_keys, key=lambda key: key.target_fullname):
        target, column = key.target_fullname.split(".")
        if target not in metadata.tables:
            found = _columns(inspector, target)[column.lower()]
            Table(target, metadata, Column(column, found["type"], primary_key=True))
    for index in table.indexes:
        index.name = quoted_name(_index_name(table, str(index.name)), quote=None)
    if op.get_bind().dialect.name == "sqlite":
        _index_foreign_keys(table)
    return table


def _index_foreign_keys(table: Table) -> None:
    # The servers do so by themselves. SQLite does not, and would scan the whole queue for the contacts of a batch.
    leading = {next(iter(index.columns)).name for index in table.indexes} | {next(iter(table.primary_key)).name}
    for column in table.columns:
        if column.foreign_keys and column.name not in leading:
            Index(_index_name(table, column.name), column)


def _created(table: Table) -> bool:
    if _inspector().has_table(table.name):
        return False
    table.create(op.get_bind())
    note_change(f"created table {table.name}")
    return True


def _ensure_columns(table: Table) -> None:
    existing = _columns(_inspector(), table.name)
    for column in table.columns:
        if column.name.lower() in existing:
            continue
        # Nothing is known about rows from before: a column that takes NULL is added without its default.
        default = None if column.nullable else column.server_default
        op.add_column(table.name, Column(column.name, column.type, nullable=column.nullable, server_default=default))
        note_change(f"added column {table.name}.{column.name}")


def _ensure_nullable(table: Table) -> None:
    existing = _columns(_inspector(), table.name)
    for column in table.columns:
        found = existing[column.name.lower()]
        if found["nullable"] or not column.nullable:
            continue
        _refuse_on_sqlite(table)
        op.alter_column(
            table.name,
            found["name"],
            nullable=True,
            existing_type=found["type"],
            existing_server_default=text(found["default"]) if found["default"] else None,
            existing_comment=found.get("comment"),
        )
        note_change(f"made {table.name}.{column.name} nullable")


def _ensure_moments_stay(table: Table) -> None:
    if op.get_bind().dialect.name == "sqlite":
        return
    existing = _columns(_inspector(), table.name)
    for column in table.columns:
        if not isinstance(column.type, TIMESTAMP) or not isinstance(column.server_default, DefaultClause):
            continue
        found, wanted = existing[column.name.lower()], column.server_default.arg
        default = (found["default"] or "").lower().removesuffix("()")
        if found["nullable"] or default == "current_timestamp":
            continue
        if not isinstance(wanted, TextClause) or isinstance(wanted, _NowAtEveryUpdate):
            continue
        op.alter_column(
            table.name,
            found["name"],
            server_default=wanted,
            nullable=False,
            existing_type=found["type"],
            existing_comment=found.get("comment"),
        )
        note_change(f"gave {table.name}.{column.name} a default")


def _ensure_foreign_keys(table: Table) -> None:
    present = [_lowered(key["constrained_columns"]) for key in _inspector().get_foreign_keys(table.name)]
    for key in sorted(table.foreign_keys, key=lambda key: key.parent.name):
        column, target = key.parent, key.column
        if _lowered([column.name]) in present:
            continue
        _refuse_on_sqlite(table)
        unknown = column.is_not(None) & ~exists().where(target == column)
        if op.get_bind().scalar(select(column).where(unknown).limit(1)) is not None:
            raise SettingRefused(
                f"Rows of {table.name} have a {column.name} that {target.table.name} does not know; "
                "delete or mend these rows, then try again"
            )
        op.create_foreign_key(
            f"fk_{table.name.lower()}_{column.name}",
            table.name,
            target.table.name,
            [column.name],
            [target.name],
            ondelete=key.ondelete,
        )
        note_change(f"added foreign key {table.name}.{column.name}")


def _refuse_on_sqlite(table: Table) -> None:
    # It would have to be written anew from what SQLAlchemy reads of it, which is not all: an ON DELETE that stands
    # behind the column, or behind names in backticks, is lost.
    if op.get_bind().dialect.name == "sqlite":
        raise SettingRefused(
            f"{table.name} lacks a foreign key or forbids NULL, which SQLite cannot change; "
            "rename the table, try again, then copy its rows into the new one"
        )


def _ensure_unique_keys(table: Table, before: Callable[[], None] | None) -> None:
    present = _unique_keys(_inspector(), table.name)
    for key in table.constraints:
        if not isinstance(key, UniqueConstraint) or _lowered(key.columns.keys()) in present:
            continue
        if before is not None:
            before()
        columns = list(key.columns)
        names = [column.name for column in columns]
        known = [column.is_not(None) for column in columns]
        equal = select(func.count()).where(*known).group_by(*columns).having(func.count() > 1).limit(1)
        if op.get_bind().scalar(equal) is not None:
            raise SettingRefused(
                f"Rows of {table.name} share one {' and '.join(names)}; make them differ, then try again"
            )
        # The servers name a key without a name after its first column.
        op.create_index(_index_name(table, str(key.name or names[0])), table.name, names, unique=True)
        note_change(f"added unique key {table.name} ({', '.join(names)})")


def _ensure_indexes(table: Table) -> None:
    present = {index["name"] for index in _inspector().get_indexes(table.name)}
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.name not in present:
            index.create(op.get_bind())
            note_change(f"added index {table.name}.{index.name}")


def _columns(inspector: Inspector, table: str) -> dict[str, ReflectedColumn]:
    # Names of columns are the same in any case, in all three databases.
    return {column["name"].lower(): column for column in inspector.get_columns(table)}


def _unique_keys(inspector: Inspector, table: str) -> list[frozenset[str]]:
    return [
        _lowered(inspector.get_pk_constraint(table)["constrained_columns"]),
        *(_lowered(key["column_names"]) for key in inspector.get_unique_constraints(table)),
        *(_lowered(index["column_names"]) for index in inspector.get_indexes(table) if index["unique"]),
    ]


def _lowered(names: Iterable[str | None]) -> frozenset[str]:
    return frozenset((name or "").lower() for name in names)


def _index_name(table: Table, name: str) -> str:
    # SQLite's names of indexes are the whole database's, not the table's.
    return f"{table.name.lower()}_{name}" if op.get_bind().dialect.name == "sqlite" else name


def _inspector() -> Inspector:
    # Every time a new one: an inspector remembers what it has seen, and the steps change it.
    return inspect(op.get_bind())


def note_change(change: str) -> None:
    """Reports a change, in words, to whoever started the upgrade."""
    config = op.get_context().config
    if config is not None:
        config.attributes["changes"].append(change)
