"""Bulk rows by LOAD DATA LOCAL INFILE, the quickest way into MariaDB and MySQL, where both sides allow it.

The server must have ``local_infile`` on, and the database URL must say ``local_infile=1``: a server that is not to be
trusted could ask the client for any file (https://mariadb.com/kb/en/load-data-infile/). The rows go through a file in
memory, so that no address ever reaches a disk.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, LargeBinary
from sqlalchemy.types import TypeEngine

from bouncer.errors import RowsAltered

__all__ = ["can_load_files", "load_rows"]

_ALLOWED = "bouncer_flows_local_infile"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\0": "\\0"})


def can_load_files(connection: Connection) -> bool:
    """Tells whether client and server both allow it; asks the server once a pooled connection."""
    if connection.dialect.driver != "pymysql" or not hasattr(os, "memfd_create"):
        return False
    if _ALLOWED not in connection.info:
        from pymysql.constants import CLIENT

        client = connection.connection.driver_connection
        willing = client is not None and bool(client.client_flag & CLIENT.LOCAL_FILES)
        connection.info[_ALLOWED] = willing and bool(
            connection.exec_driver_sql("SELECT @@GLOBAL.local_infile").scalar()
        )
    return bool(connection.info[_ALLOWED])


def load_rows(
    connection: Connection,
    verb: str,
    table: str,
    columns: Mapping[str, TypeEngine[Any]],
    cells: Sequence[Sequence[Any]],
) -> None:
    """Writes rows into a table.

    Args:
        connection: In a transaction, for which ``can_load_files`` holds.
        verb: ``INSERT``, or ``REPLACE`` to overwrite the rows whose key is there already.
        table: The table's name.
        columns: Name and type of each column.
        cells: The values, column by column; None is NULL.

    Raises:
        RowsAltered: The server could not take the rows as they are. It only warns of that, and stores what it can.
    """
    quote = connection.dialect.identifier_preparer.quote
    targets = [
        f"@c{i}" if isinstance(kind, LargeBinary) else quote(name) for i, (name, kind) in enumerate(columns.items())
    ]
    unhexed = [
        f"{quote(name)} = UNHEX({target})" for name, target in zip(columns, targets, strict=True) if target[0] == "@"
    ]
    texts = [_texts(values, kind) for values, kind in zip(cells, columns.values(), strict=True)]
    descriptor = os.memfd_create("rows")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="", closefd=False) as file:
            file.writelines("\t".join(row) + "\n" for row in zip(*texts, strict=True))
        connection.exec_driver_sql(
            f"LOAD DATA LOCAL INFILE '/proc/self/fd/{descriptor}' {'REPLACE ' if verb == 'REPLACE' else ''}"
            # The escape is a backslash, said so that it holds under NO_BACKSLASH_ESCAPES, too.
            f"INTO TABLE {table} CHARACTER SET utf8mb4 FIELDS ESCAPED BY x'5C' ({', '.join(targets)})"
            + (f" SET {', '.join(unhexed)}" if unhexed else ""),
            execution_options={"no_parameters": True},
        )
    finally:
        os.close(descriptor)
    if connection.exec_driver_sql("SELECT @@warning_count").scalar():
        codes: Iterable[Any] = connection.exec_driver_sql("SHOW WARNINGS")
        code = next((row[1] for row in codes), 0)
        raise RowsAltered(
            f"the database could not take rows of {table} as they are (warning {code}); nothing was changed"
        )


def _texts(values: Sequence[Any], kind: TypeEngine[Any]) -> list[str]:
    if isinstance(kind, LargeBinary):
        return ["\\N" if value is None else value.hex() for value in values]
    # Most columns repeat a few values.
    texts = {value: "\\N" if value is None else str(value).translate(_ESCAPES) for value in set(values)}
    return [texts[value] for value in values]
