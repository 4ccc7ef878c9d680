"""Settings of a MariaDB or MySQL server under which runs would fail halfway, found before anything is done."""

from collections.abc import Mapping

from sqlalchemy import Connection

from bouncer.storage.dialects import is_sqlite
from bouncer.storage.transactions import reading

__all__ = ["unusable_settings"]

_PACKET_BYTES = 1_048_576
"""Most bytes that the driver puts into a packet, rounded up to what servers allow in whole."""

_ASKED = (
    "max_allowed_packet",
    "log_bin",
    "binlog_format",
    "group_replication_group_name",
    "group_replication_single_primary_mode",
)


@reading
def unusable_settings(connection: Connection) -> list[str]:
    """Finds the server's settings that nothing can work with.

    Args:
        connection: To any database.

    Returns:
        A line for each, with what to do; none on SQLite.
    """
    if is_sqlite(connection):
        return []
    names = ", ".join(f"'{name}'" for name in _ASKED)
    found: Mapping[str, str] = {
        str(name).lower(): str(value)
        for name, value in connection.exec_driver_sql(f"SHOW VARIABLES WHERE Variable_name IN ({names})")
    }
    wrong: list[str] = []
    packet = int(found["max_allowed_packet"])
    if packet < _PACKET_BYTES:
        wrong.append(
            f"the server's max_allowed_packet is {packet:,} bytes, too small for the rows of a batch; set it to "
            f"{_PACKET_BYTES} or more, in the server's configuration too"
        )
    if found.get("log_bin") == "ON" and found.get("binlog_format") == "STATEMENT":
        wrong.append(
            "the server's binlog_format is STATEMENT, which cannot log READ COMMITTED transactions; set it to ROW or "
            "MIXED, in the server's configuration too"
        )
    # The plugin may be loaded and not be used.
    if found.get("group_replication_group_name") and found.get("group_replication_single_primary_mode") == "OFF":
        wrong.append(
            "the server's group replication is in multi-primary mode, where row locks hold on one member only; run "
            "SELECT group_replication_switch_to_single_primary_mode()"
        )
    return wrong
