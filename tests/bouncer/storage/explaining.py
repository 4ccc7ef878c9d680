"""How the database goes about each statement, and whether it reads a whole table for it."""

import re
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from bouncer.storage.dialects import is_sqlite

__all__ = ["Explainer", "rows_read"]


class Explainer:
    """Explains every statement right before it runs, when all temporary tables are there.

    Args:
        engine: The database.
        large: The tables of which no statement may read all rows.

    Attributes:
        plans: The statements with their plans.
        whole_tables: The steps that read such a table from one end to the other.
    """

    def __init__(self, engine: Engine, *large: str) -> None:
        self._lite = is_sqlite(engine)
        self._large = large
        self.plans: dict[str, None] = {}
        self.whole_tables: list[str] = []
        event.listen(engine, "before_cursor_execute", self._explain)

    def _explain(
        self, _connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if many or not re.match(r"SELECT|UPDATE|DELETE|INSERT.*SELECT", statement, re.DOTALL):
            return
        other = cursor.connection.cursor()
        other.execute(("EXPLAIN QUERY PLAN " if self._lite else "EXPLAIN ") + statement, parameters)
        steps = [self._step(*row) for row in other.fetchall()]
        other.close()
        self.plans["\n    ".join([" ".join(statement.split()), *(step for step, _ in steps)])] = None
        self.whole_tables += [f"{step}: {statement}" for step, is_whole in steps if is_whole]

    def _step(self, *row: Any) -> tuple[str, bool]:
        if self._lite:
            return row[3], re.match(rf"SCAN ({'|'.join(self._large)})", row[3]) is not None
        _, _, table, kind, _, key, *_ = row
        return f"{table}: {kind}, key {key}", table in self._large and (kind in {"ALL", "index"} or key is None)


def rows_read(connection: Connection) -> int:
    """How many rows MariaDB has read so far for this connection."""
    return sum(int(value) for _, value in connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'")))
