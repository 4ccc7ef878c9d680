"""No statement of a claim or a load reads a whole table, however long the queue is."""

import re
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from bouncer.database import write
from bouncer.dialects import is_sqlite
from tests.bouncer.contacts import claim, load_verdicts, new_request, queue, sent, verdicts, verify
from tests.bouncer.existing_tables import execute

_LARGE = ("Bouncer_Queue", "Contacts_Global", "Bouncer_Results")
_ROWS = 20_000


class _Explainer:
    """Explains every statement right before it runs, when all temporary tables are there."""

    def __init__(self, engine: Engine) -> None:
        self._lite = is_sqlite(engine)
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
        self.plans["\n    ".join([" ".join(statement.split()), *(text for text, _ in steps)])] = None
        self.whole_tables += [f"{text}: {statement}" for text, is_whole in steps if is_whole]

    def _step(self, *row: Any) -> tuple[str, bool]:
        if self._lite:
            text = str(row[3])
            # A scan from one end of an index that stops at the first row is as good as a search.
            return text, bool(re.match(rf"SCAN ({'|'.join(_LARGE)})", text)) and "USING COVERING INDEX" not in text
        _, _, table, kind, _, key, *_, rows, extra = row
        text = f"{table}: {kind}, key {key}, {rows} rows, {extra}"
        return text, table in _LARGE and (kind == "ALL" or int(rows) > _ROWS // 2)


@pytest.mark.parametrize("only_one_request", [False, True])
def test_no_statement_reads_a_whole_table(engine: Engine, only_one_request: bool) -> None:
    """With 20,000 contacts in the queue a claim and a load go by index all the way."""
    large, small = new_request(engine), new_request(engine)
    queue(engine, (f"a{number}@example{number % 50}.com" for number in range(_ROWS)), request_id=large)
    queue(engine, (f"b{number}@example{number % 50}.com" for number in range(_ROWS // 2)), request_id=small)
    if not is_sqlite(engine):
        execute(engine, *(f"ANALYZE TABLE {table}" for table in _LARGE))
    explainer = _Explainer(engine)
    request = large if only_one_request else None
    (batch,) = claim(engine, batches=1, batch_size=500, request_id=request).batches
    verified = verify(engine, batch.id)
    load_verdicts(engine, verified, verdicts(sent(engine, batch.id)))
    queue(engine, [f" A{number}@example{number % 50}.com" for number in range(_ROWS)][:100], request_id=large, priority=99)
    assert claim(engine, request_id=request).reused > 0
    print("\n".join(explainer.plans))
    assert explainer.whole_tables == []
    assert any("idx_claim" in plan for plan in explainer.plans)
