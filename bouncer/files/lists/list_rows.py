"""The lists that requests were queued from: known again, followed while they are read, and linked to their result."""

from sqlalchemy import Connection, func, insert, select, update

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import Layout
from bouncer.files.lists.sources import ListSource
from bouncer.requests.names import called
from bouncer.requests.users import user_of
from bouncer.storage.tables import List, Request
from bouncer.storage.transactions import reading, writing

__all__ = [
    "FinishedUnderThisName",
    "finished_under",
    "list_of",
    "note_import",
    "note_import_ended",
    "note_result",
    "record_list",
    "request_of",
]

_NAME_CHARACTERS = 255


class FinishedUnderThisName(InputRefused):
    """Another list was verified to its end under the same name; a person says whether this one is to join it.

    Attributes:
        fact: The same in words, without what to do about it.
    """

    def __init__(self, request_id: int, name: str) -> None:
        """Keeps what a question needs."""
        self.fact = f"{called(request_id, name)} is finished, and was another list"
        super().__init__(
            f"{self.fact}; give this one a name of its own with --request NAME, or add it to the same request with "
            "--add"
        )


def record_list(
    connection: Connection, request_id: int, name: str, source: ListSource, layout: Layout, *, split: bool, add: bool
) -> None:
    """Writes down which list a request is queued from, before the first contact is.

    Args:
        connection: In a transaction that writes.
        request_id: The request.
        name: Its name.
        source: The list.
        layout: Its columns.
        split: Whether cells with several addresses are split.
        add: Whether another list may join a complete request.

    Raises:
        FinishedUnderThisName: It may not, and would.
    """
    known = list_of(connection, request_id)
    if not add and _was_another_list(connection, known, source.digest):
        raise FinishedUnderThisName(request_id, name)
    row = {
        "source": source.given,
        "source_digest": source.digest,
        "source_bytes": source.path.stat().st_size,
        "column_name": layout.column_name[:_NAME_CHARACTERS],
        "column_number": layout.column + 1,
        "split": split,
        "bytes_read": 0,
        "imported_ts": None,
    }
    if known is None:
        connection.execute(insert(List).values(request_id=request_id, **row))
    else:
        connection.execute(update(List).where(List.request_id == request_id).values(row))


def _was_another_list(connection: Connection, known: List | None, digest: str) -> bool:
    if known is None or known.source_digest == digest:
        return False
    completed = select(Request.bouncer_completed_ts).where(Request.request_id == known.request_id)
    return connection.scalar(completed) is not None


@reading
def finished_under(connection: Connection, name: str, user: str | int, digest: str) -> FinishedUnderThisName | None:
    """Finds out whether a list would join a finished request that was another list.

    Args:
        connection: Any.
        name: The name of the request.
        user: Its user, by number or name.
        digest: Of the list.

    Returns:
        What an import would raise; None where it would go through.
    """
    request_id = request_of(connection, name, user)
    if request_id is None or not _was_another_list(connection, list_of(connection, request_id), digest):
        return None
    return FinishedUnderThisName(request_id, name)


@reading
def list_of(connection: Connection, request_id: int) -> List | None:
    """The list that a request was queued from; None for one that something else has queued."""
    row = connection.execute(select(*List.__table__.columns).where(List.request_id == request_id)).one_or_none()
    return None if row is None else List(**row._mapping)


@reading
def request_of(connection: Connection, name: str, user: str | int) -> int | None:
    """Finds a user's request by its name, as an import does; None where there is none."""
    user_id = user_of(connection, user)
    if user_id is None:
        return None
    found = connection.execute(
        select(Request.request_id, Request.name)
        .where(Request.user_id == user_id, Request.name == name)
        .order_by(Request.request_id)
    )
    return next((row.request_id for row in found if row.name == name), None)


def note_import(connection: Connection, request_id: int, **progress: int) -> None:
    """Writes down how far an import has come.

    Args:
        connection: In the transaction that queues the contacts.
        request_id: The request.
        **progress: ``bytes_read``, ``lines``, ``addresses`` and ``rejected`` so far.
    """
    connection.execute(update(List).where(List.request_id == request_id).values(progress))


@writing
def note_import_ended(connection: Connection, request_id: int) -> None:
    """Writes down that all of the list is queued."""
    values = {"imported_ts": func.current_timestamp(), "bytes_read": List.source_bytes}
    connection.execute(update(List).where(List.request_id == request_id).values(values))


@writing
def note_result(connection: Connection, request_id: int, place: str, lines: int | None = None) -> None:
    """Writes down where the result goes, before it is begun, or how many lines it has, once it is there."""
    ended = {} if lines is None else {"result_lines": lines, "result_ts": func.current_timestamp()}
    connection.execute(update(List).where(List.request_id == request_id).values(result=place, **ended))
