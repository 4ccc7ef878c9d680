"""Gives the list of a request back from where it was read, if it is still the same."""

from collections.abc import Callable

from sqlalchemy import Engine

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import inspect
from bouncer.files.lists.list_rows import list_of
from bouncer.files.lists.results import Choice, Written, write_list
from bouncer.files.lists.sources import opened_list

__all__ = ["give_back_list"]


def give_back_list(
    engine: Engine, request_id: int, place: str, choice: Choice, *, progress: Callable[[int], None] | None = None
) -> Written:
    """Reads the list that a request was queued from again, and writes it with its verdicts.

    Args:
        engine: The contacts database.
        request_id: The request.
        place: The place of the result, for ``written_rows``.
        choice: Which lines, and in which form.
        progress: Called with the lines read so far.

    Raises:
        InputRefused: The request was queued from no list, or the list has gone or changed since.
    """
    known = list_of(engine, request_id)
    if known is None:
        raise InputRefused(f"request {request_id} was not queued from a list; export it without its own columns")
    with opened_list(known.source) as source:
        if source.digest != known.source_digest:
            raise InputRefused(f"{source.name} is not the list any more that request {request_id} was queued from")
        layout = inspect(source.path, str(known.column_number), source.name)
        return write_list(engine, layout, request_id, place, choice, split=known.split, progress=progress)
