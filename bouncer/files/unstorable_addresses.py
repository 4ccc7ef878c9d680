"""Finds the addresses of a list that an adopted column of contacts cannot hold, so that the others are stored."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, LargeBinary, String
from sqlalchemy.types import TypeEngine

from bouncer.files.csv.reading import RejectedLine
from bouncer.storage.bulk import stage
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.transactions import writing

__all__ = ["unstorable"]

_ALTERED = "the database's column for addresses cannot hold it: it is too long, or has other characters"
_SAME = "the database's column for addresses takes it for the same as another address"
_TRY = """
    INSERT IGNORE INTO import_trial (email, bouncer_address_key)
    SELECT s.address, s.`key` FROM import_contacts s
    LEFT JOIN Contacts_Global c ON c.bouncer_address_key = s.`key` WHERE c.global_id IS NULL ORDER BY s.line
"""
# Compared as bytes, since a collation may call equal what was changed on the way in.
_FIND_ALTERED = """
    SELECT s.line, s.address FROM import_contacts s JOIN import_trial t ON t.bouncer_address_key = s.`key`
    WHERE CAST(CONVERT(t.email USING utf8mb4) AS BINARY) <> CAST(s.address AS BINARY)
"""
_FIND_KEPT_OUT = """
    SELECT s.line, s.address FROM import_contacts s
    LEFT JOIN Contacts_Global c ON c.bouncer_address_key = s.`key`
    LEFT JOIN import_trial t ON t.bouncer_address_key = s.`key` WHERE c.global_id IS NULL AND t.global_id IS NULL
"""
_FIND_TAKEN = """
    SELECT s.line, s.address FROM import_trial t JOIN Contacts_Global c ON c.email = t.email
    JOIN import_contacts s ON s.`key` = t.bouncer_address_key
    WHERE NOT c.bouncer_address_key <=> t.bouncer_address_key
"""
_STAGED: dict[str, TypeEngine[Any]] = {"line": Integer(), "address": String(320), "key": LargeBinary(16)}


@writing
def unstorable(connection: Connection, contacts: Mapping[str, Sequence[Any]]) -> list[RejectedLine]:
    """Stores the addresses in a copy of the contacts' table that takes what it can, and compares.

    Args:
        connection: In a transaction that writes; the server has refused these addresses in the table itself.
        contacts: Columns ``line``, ``address`` and ``key``.

    Returns:
        Addresses that are too long for the column, that its character set lacks, or that it takes for another's,
        with their reasons; none on SQLite, whose columns hold every text.
    """
    if is_sqlite(connection):
        return []
    stage(connection, "import_contacts", _STAGED, contacts)
    connection.exec_driver_sql("DROP TEMPORARY TABLE IF EXISTS import_trial")
    # With its columns, character sets, collations and keys; temporary, so that nothing is committed.
    connection.exec_driver_sql("CREATE TEMPORARY TABLE import_trial LIKE Contacts_Global")
    connection.exec_driver_sql(_TRY)
    found = [(line, address, _ALTERED) for line, address in connection.exec_driver_sql(_FIND_ALTERED)]
    found += [(line, address, _SAME) for line, address in connection.exec_driver_sql(_FIND_KEPT_OUT)]
    unique = "SHOW KEYS FROM Contacts_Global WHERE Column_name = 'email' AND Non_unique = 0"
    if connection.exec_driver_sql(unique).first() is not None:
        found += [(line, address, _SAME) for line, address in connection.exec_driver_sql(_FIND_TAKEN)]
    connection.exec_driver_sql("DROP TEMPORARY TABLE import_trial")
    by_address = {address: RejectedLine(line, reason, address) for line, address, reason in reversed(found)}
    return sorted(by_address.values(), key=lambda line: line.line)
