"""One progress display for a list, from its first line read to its last line written."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from bouncer.errors import BouncerFlowsError
from bouncer.files.lists.list_rows import list_of, request_of
from bouncer.requests.counting import count_contacts
from bouncer.storage.transactions import reading
from deployments.terminal.display import stage_progress

__all__ = ["list_shown"]

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class _Stage:
    # What is being done, how much of it is done, of how much.
    what: str
    done: int = 0
    of: int = 0


@contextmanager
def list_shown(engine: Engine, names: tuple[str, str | int], *, quiet: bool) -> Iterator[None]:
    """Shows how far a list has come, by its rows in the database: it is true whichever process does the work.

    Args:
        engine: The contacts database.
        names: Of the request and its user.
        quiet: Show nothing.
    """
    if quiet:
        yield
        return
    done = threading.Event()
    with stage_progress() as show:

        def follow() -> None:
            while not done.wait(_LOOK_SECONDS):
                try:
                    stage = _stage_of(engine, names)
                except BouncerFlowsError:
                    continue
                show(stage.what, stage.done, stage.of)

        follower = threading.Thread(target=follow, name="progress", daemon=True)
        follower.start()
        try:
            yield
        finally:
            done.set()
            follower.join()


@reading
def _stage_of(connection: Connection, names: tuple[str, str | int]) -> _Stage:
    request_id = request_of(connection, *names)
    known = None if request_id is None else list_of(connection, request_id)
    if request_id is None or known is None:
        return _Stage("reading")
    if known.imported_ts is None:
        return _Stage("importing", known.bytes_read, known.source_bytes)
    contacts = count_contacts(connection, request_id)
    if contacts.open:
        return _Stage("verifying", contacts.settled, contacts.total)
    return _Stage("writing the result")
