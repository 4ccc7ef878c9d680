"""A list comes back: its own columns as they were, line for line, with the verdict and advice on each behind them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, Integer, LargeBinary, and_, func, select
from sqlalchemy.types import TypeEngine

from bouncer.files.address_cells import addresses_in
from bouncer.files.checked_cells import check_cells
from bouncer.files.csv.cells import harmless
from bouncer.files.csv.reading import NO_COLUMN, TOO_LONG, Layout, read_records
from bouncer.files.exporting import result_cells
from bouncer.files.lists.verdict_columns import VERDICT_COLUMNS, Verdict, no_verdict, verdict_of
from bouncer.prefetching import one_ahead
from bouncer.storage.bulk import stage
from bouncer.storage.tables import Contact, QueuedContact, Result
from bouncer.storage.transactions import reading

__all__ = ["ListLine", "list_header", "list_lines"]

_CHUNK_ROWS = 10_000
_CHUNK_CELLS = 4_000_000
_PREFIX = "bouncer_"
_STAGED: dict[str, TypeEngine[Any]] = {"number": Integer(), "address_key": LargeBinary(16)}


@dataclass(frozen=True)
class ListLine:
    """A line of the list, or one address of it.

    Attributes:
        own: Its own cells.
        verdict: The cells behind them, by column.
        address: As it was verified, its domain as the list has it; or None.
        key: Of the address, by which equal ones are known; or None.
    """

    own: list[str]
    verdict: Verdict
    address: str | None
    key: bytes | None


def list_header(layout: Layout) -> list[str]:
    """The list's own headers, and those of the verdict behind them; with a prefix where two are alike."""
    taken = {name.strip().casefold() for name in layout.names}
    headers = list(layout.names)
    for column in VERDICT_COLUMNS:
        name = column
        while name in taken:
            name = _PREFIX + name
        taken.add(name)
        headers.append(name)
    return headers


def list_lines(
    engine: Engine,
    layout: Layout,
    request_id: int,
    *,
    split: bool,
    progress: Callable[[int], None] | None = None,
) -> Iterator[list[ListLine]]:
    """Reads a list again, in bounded memory, and finds the verdict on each line.

    Args:
        engine: The contacts database.
        layout: Of the list.
        request_id: The request that was queued from it.
        split: Whether cells with several addresses were split: then there is a line for each.
        progress: Called after each chunk with the lines so far.

    Yields:
        Stretches of lines in the order of the file; none is left out but blank ones.
    """
    done = 0
    width = len(layout.names)
    for records in one_ahead(read_records(layout, max(1, min(_CHUNK_ROWS, _CHUNK_CELLS // width)))):
        column = layout.column
        texts = [cells[column] if cells is not None and len(cells) > column else "" for _, cells in records]
        checked = check_cells(texts, split=split).frame()
        verdicts = _verdicts(engine, checked, request_id)
        lines = []
        columns = (checked["cell"], checked["reason"], checked["written"], checked["key"])
        for row, (cell, reason, address, key) in enumerate(zip(*columns, strict=True)):
            cells = records[cell][1]
            if cells is None:
                verdict = no_verdict("rejected", TOO_LONG)
            elif len(cells) <= column:
                verdict = no_verdict("rejected", NO_COLUMN.format(column + 1))
            elif reason is not None:
                verdict = no_verdict("rejected", reason, is_ambiguous=bool(addresses_in(texts[cell])))
            else:
                verdict = verdicts.get(row) or no_verdict("not queued", "")
            own = list(map(harmless, (cells or [])[:width]))
            lines.append(ListLine(own + [""] * (width - len(own)), verdict, address, key))
        done += len(records)
        yield lines
        if progress is not None:
            progress(done)


@reading
def _verdicts(connection: Connection, checked: pd.DataFrame, request_id: int) -> Mapping[int, Verdict]:
    valid = checked[checked["reason"].isna()]
    asked = valid.assign(number=valid.index, address_key=valid["key"])
    staged = stage(connection, "export_list", _STAGED, asked).c
    rows: Sequence[Any] = connection.execute(
        select(staged.number, *result_cells())
        .join(Contact, Contact.bouncer_address_key == staged.address_key)
        .join(
            QueuedContact,
            # A sum, because the index on requests must not be used: it would lead to a million rows each time.
            and_(QueuedContact.global_id == Contact.global_id, QueuedContact.request_id + 0 == request_id),
        )
        .outerjoin(Result, and_(Result.batch_id == QueuedContact.batch_id, Result.global_id == QueuedContact.global_id))
        .order_by(staged.number, func.coalesce(QueuedContact.queue_id, 0).desc())
    ).all()
    # Of several contacts with one address, the oldest is the one that the import has queued: it comes last.
    return {row[0]: verdict_of(row[1:]) for row in rows}
