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
        # MySQL 9 has other forms, and one of those may be its default.
        mysql = not self._lite and not engine.dialect.is_mariadb  # type: ignore[attr-defined]  # a server's has it
        self._explain_as = "EXPLAIN QUERY PLAN" if self._lite else "EXPLAIN FORMAT=TRADITIONAL" if mysql else "EXPLAIN"
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
        other.execute(f"{self._explain_as} {statement}", parameters)
        names = [part[0] for part in other.description]
        steps = [self._step(dict(zip(names, row, strict=True))) for row in other.fetchall()]
        other.close()
        self.plans["\n    ".join([" ".join(statement.split()), *(step for step, _ in steps)])] = None
        self.whole_tables += [f"{step}: {statement}" for step, is_whole in steps if is_whole]

    def _step(self, step: dict[str, Any]) -> tuple[str, bool]:
        if self._lite:
            return step["detail"], re.match(rf"SCAN ({'|'.join(self._large)})", step["detail"]) is not None
        table, kind, key = step["table"], step["type"], step["key"]
        if step["select_type"] == "INSERT":
            # MySQL's first step, the table that is written to.
            return f"into {table}", False
        return f"{table}: {kind}, key {key}", table in self._large and (kind in {"ALL", "index"} or key is None)


def rows_read(connection: Connection, of: str = "SESSION") -> int:
    """Counts the rows that the server has read so far for this connection, or for all (GLOBAL)."""
    return sum(int(value) for _, value in connection.execute(text(f"SHOW {of} STATUS LIKE 'Handler_read%'")))
