"""How many statements go to a database while something is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

__all__ = ["counting_statements"]


@contextmanager
def counting_statements(engine: Engine) -> Iterator[list[str]]:
    """Gives the statements that an engine executes meanwhile, the beginnings of transactions left out.

    A statement that is executed for many rows counts once for each, unless it inserts them: PyMySQL sends all rows of
    an INSERT or REPLACE as one statement, and each row of anything else by itself.
    """
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not statement.startswith("BEGIN"):
            inserts = statement.startswith(("INSERT", "REPLACE"))
            seen.extend([statement] * (len(parameters) if many and not inserts else 1))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
