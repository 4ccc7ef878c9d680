"""Export: one CSV line for each queued contact, with its verdict, read in chunks and written whole or not at all."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    ScalarSelect,
    Select,
    String,
    Text,
    and_,
    case,
    cast,
    func,
    select,
    type_coerce,
)
from sqlalchemy.orm import aliased

from bouncer.errors import InputRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.files.export_columns import CELLS, COLUMNS, PARTS, SEPARATOR, csv_line
from bouncer.prefetching import in_order, one_ahead
from bouncer.requests.kept_counts import BY_REQUEST
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.tables import Batch, Contact, Layer, QueuedContact, Request, Result
from bouncer.storage.transactions import reading

__all__ = ["COLUMNS", "ExportReport", "export_results"]

_CHUNK_ROWS = 20_000
_STRETCH = 10_000
"""Numbers of the queue whose contacts come as one text: some 4 MB, which servers with their own settings can send."""
_AT_ONCE = 3
"""Stretches asked for at a time: while the text of one is on its way here, the server puts the next together."""
_IN_ONE_PIECE = 0.9
"""The least share of the numbers from a request's first contact to its last that are its own for that."""
_SPARSE = 8
"""The most numbers for one contact with which contacts are looked for by stretches, not one by one."""
_DIGITS = 20
_BETWEEN = "\x1d"
_BEHIND = "\x1e"
"""Between the parts of a contact and behind it, where a text has many: ASCII's group and record separators."""
_SEEK = 4
"""Cost of reading a row by index, as a multiple of reading the row next to the last one."""

_Asked = Select[*tuple[Any, ...]]


@dataclass(frozen=True)
class ExportReport:
    """Result of an export.

    Attributes:
        rows: Contacts, the header not counted.
        path: The file; None for standard output.
    """

    rows: int
    path: Path | None


def export_results(
    engine: Engine,
    path: Path | str,
    *,
    request_id: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportReport:
    """Writes the queued contacts with their verdicts, in the order of the queue.

    A contact that has no verdict of its own batch gets the latest that its address has; ``outcome`` tells where it
    stands in the queue. What Bouncer did not tell stays empty. A text that a spreadsheet would run as a formula
    (it begins with ``= + - @``, a tab or a line end, and is no number) gets a ' in front.

    Args:
        engine: The contacts database.
        path: The file, replaced if there is one; ``-`` for standard output.
        request_id: Only this request's contacts; None for all.
        progress: Called after each chunk with the rows written so far.

    Returns:
        What was written.

    Raises:
        InputRefused: There is no such request, or the file cannot be written; nothing was changed.
        DatabaseUnavailable: The database was away for too long; nothing was written but to standard output.
    """
    part = _part(engine, request_id)
    # The database looks for the next chunk while this one is written.
    chunks = one_ahead(_chunks(engine, part))
    if str(path) == "-":
        return ExportReport(_write(sys.stdout, chunks, progress), None)
    path = Path(path)
    if path.is_dir():
        raise InputRefused(f"{path} is a directory; give the name of a file in it")
    try:
        with atomic_file(path) as file:
            rows = _write(file, chunks, progress)
    except OSError as error:
        raise InputRefused(f"{path} cannot be written ({error.strerror}); choose another place") from None
    return ExportReport(rows, path)


@dataclass(frozen=True)
class _Part:
    # The part of the queue to write: from the first row to the last, which comes before the first where there are none.
    request_id: int | None
    first: int
    last: int
    rows: int

    @property
    def is_scattered(self) -> bool:
        # Whether the database reads less where it finds all rows of the request by index for each chunk, and sorts
        # them, than along the primary key with what others have queued in between.
        chunks = -(-self.rows // _CHUNK_ROWS)
        return self.request_id is not None and _SEEK * self.rows * chunks < self.last - self.first

    @property
    def is_in_one_piece(self) -> bool:
        # Whether next to nothing of other requests is in between.
        return self.request_id is None or self.rows > _IN_ONE_PIECE * (self.last - self.first)


@reading
def _part(connection: Connection, request_id: int | None) -> _Part:
    ends = select(func.min(QueuedContact.queue_id), func.max(QueuedContact.queue_id))
    if request_id is not None:
        if connection.scalar(select(Request.request_id).where(Request.request_id == request_id)) is None:
            raise InputRefused(f"There is no request {request_id}; leave the number out to export all of them")
        # Its index is read from end to end for the bounds anyway.
        ends = ends.add_columns(func.count()).where(QueuedContact.request_id == request_id)
    found: Sequence[Any] = connection.execute(ends).one()
    first, last, *rows = found
    return _Part(request_id, 0, -1, 0) if first is None else _Part(request_id, first, last, *rows or [0])


@dataclass(frozen=True)
class _Chunk:
    # How many contacts it has, what makes their lines, and the number that the next chunk begins at. The lines are made
    # by whoever writes them: the database is asked for the next chunk meanwhile.
    rows: int
    lines: Callable[[], str] = field(repr=False)
    end: int


def _chunks(engine: Engine, part: _Part) -> Iterator[_Chunk]:
    first = part.first
    is_dense = not part.is_scattered
    adds_up = not is_sqlite(engine)
    while first <= part.last:
        found = _stretches(engine, part, first) if is_dense and adds_up else iter([_chunk(engine, part, first)])
        for chunk in found:
            if chunk is None:
                adds_up = False
                break
            yield chunk
            is_dense = chunk.end - first <= _SPARSE * chunk.rows
            first = chunk.end
            if not is_dense:
                break


def _stretches(engine: Engine, part: _Part, first: int) -> Iterator[_Chunk | None]:
    starts = range(first, part.last + 1, _STRETCH)
    # Where others come in between, the next stretch may not be wanted.
    at_once = _AT_ONCE if part.is_in_one_piece else 1
    return in_order((partial(_stretch, engine, part, start) for start in starts), at_once)


@reading
def _stretch(connection: Connection, part: _Part, first: int) -> _Chunk | None:
    # All contacts with one of so many numbers, as one text: PyMySQL takes 4 µs for a row, whatever is in it. None where
    # the server has cut the text, or where what comes from outside has a separator in it.
    last = min(first + _STRETCH - 1, part.last)
    number, *cells = result_cells()
    # With zeros in front, contacts sort by their numbers as texts: the server need not put them in any order.
    whole = [func.lpad(number, _DIGITS, "0"), *(func.coalesce(cell, "") for cell in cells)]
    contact = func.concat_ws(_BETWEEN, *(func.concat_ws(SEPARATOR, *whole[cells]) for cells in PARTS))
    asked = select(func.count(), func.aggregate_strings(func.concat(contact, _BEHIND), ""))
    query = _joined_tables(part, asked, QueuedContact.request_id + 0)
    count, found = connection.execute(query.where(QueuedContact.queue_id.between(first, last))).one()
    text: str = found or ""
    separators = [(_BEHIND, 1), (_BETWEEN, len(PARTS) - 1), (SEPARATOR, CELLS - len(PARTS))]
    is_whole = not text or text.endswith(_BEHIND)
    if not is_whole or any(text.count(separator) != count * each for separator, each in separators):
        return None
    return _Chunk(count, partial(_lines_of_text, text), last + 1)


def _lines_of_text(text: str) -> str:
    *contacts, _ = text.split(_BEHIND)
    return _lines(sorted(contacts), _parts_of_text)


def _lines(contacts: Sequence[Any], apart: Callable[[Any], Sequence[Any]]) -> str:
    return "".join(map(csv_line, map(apart, contacts)))


def _parts_of_text(contact: str) -> list[str]:
    return contact.split(_BETWEEN)


@reading
def _chunk(connection: Connection, part: _Part, first: int) -> _Chunk:
    # A sum is in no index: along the primary key the request is none, by the request's index the number is none.
    number: ColumnElement[int] = QueuedContact.queue_id + 0 if part.is_scattered else QueuedContact.queue_id.expression
    request = QueuedContact.request_id.expression if part.is_scattered else QueuedContact.request_id + 0
    cells = result_cells()
    are_joined = not is_sqlite(connection)
    query = _joined_tables(part, select(*([_joined(cells)] if are_joined else cells)), request)
    query = query.where(number.between(first, part.last)).order_by(number).limit(_CHUNK_ROWS)
    if part.is_scattered:
        # Before MySQL has counted new rows it would begin with all contacts.
        query = query.with_hint(QueuedContact, BY_REQUEST)
    found: Sequence[Any] = connection.scalars(query).all() if are_joined else connection.execute(query).all()
    apart = _parts_of_cells_in_text if are_joined else _parts
    return _Chunk(len(found), partial(_lines, found, apart), int(apart(found[-1])[0]) + 1 if found else part.last + 1)


def _parts_of_cells_in_text(contact: str) -> list[Any]:
    return _parts(contact.split(SEPARATOR))


def _parts(cells: Sequence[Any]) -> list[Any]:
    return [cells[0], cells[1], *(tuple(cells[part]) for part in PARTS[2:])]


def _joined_tables(part: _Part, asked: _Asked, request: ColumnElement[int]) -> _Asked:
    query = (
        asked.select_from(QueuedContact)
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .outerjoin(Result, and_(Result.batch_id == QueuedContact.batch_id, Result.global_id == QueuedContact.global_id))
    )
    if part.request_id is not None:
        return query.where(request == part.request_id)
    # A contact of the deep pass has its line with the request that it came from.
    return query.where(QueuedContact.layer == Layer.BASIC)


def result_cells() -> list[ColumnElement[Any]]:
    # As the lines need them, see bouncer/files/export_columns.py.
    has_result = Result.batch_id.is_not(None)
    cells: list[Any] = [
        QueuedContact.queue_id,
        Contact.email,
        case((has_result, Result.bouncer_status), else_=Contact.bouncer_status),
        case((has_result, Result.bouncer_reason), else_=Contact.bouncer_reason),
        case((has_result, Result.score), else_=Contact.bouncer_score),
        Result.provider,
        type_coerce(Result.domain_info, Text),
        type_coerce(Result.account_info, Text),
        Result.toxic,
        Result.toxicity,
        Result.did_you_mean,
        cast(case((has_result, Result.processed_ts), else_=Contact.bouncer_verified_ts), String(19)),
        QueuedContact.status,
        QueuedContact.error_message,
        QueuedContact.request_id,
        # Asked for those alone that the deep pass has looked at.
        case((Contact.bouncer_deep_ts.is_not(None), _deep_verdict())),
    ]
    return [type_coerce(cell, Text) for cell in cells]


def _joined(cells: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    # As one text, because PyMySQL takes 0.5 µs a value. What of it comes from outside may have the separator in it.
    whole = [func.replace(func.coalesce(cell, ""), SEPARATOR, " ") for cell in cells]
    return func.concat_ws(SEPARATOR, *whole)


def _deep_verdict() -> ScalarSelect[Any]:
    deep = aliased(Result)
    return (
        select(
            func.json_array(deep.bouncer_status, deep.bouncer_reason, deep.score, cast(deep.processed_ts, String(19)))
        )
        .join(Batch, Batch.id == deep.batch_id)
        .where(deep.global_id == Contact.global_id, Batch.layer == Layer.DEEP)
        .order_by(deep.batch_id.desc())
        .limit(1)
        .correlate(Contact)
        .scalar_subquery()
    )


def _write(file: TextIO, chunks: Iterator[_Chunk], progress: Callable[[int], None] | None) -> int:
    file.write(f"{','.join(COLUMNS)}\r\n")
    written = 0
    for chunk in chunks:
        file.write(chunk.lines())
        written += chunk.rows
        if progress is not None:
            progress(written)
    return written
