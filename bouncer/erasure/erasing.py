"""Erasing a person by the address, or a request by its number, and the account of what could not be reached."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, func, or_, select, update

from bouncer.addresses.address_keys import VERDICT_OF_CONTACT
from bouncer.erasure import files
from bouncer.erasure.addresses import Wanted
from bouncer.erasure.contacts import (
    Gone,
    erase_contacts,
    is_application_table,
    leave_to_others,
    lock_all,
    recount,
    try_to,
)
from bouncer.erasure.texts import erase_from_texts
from bouncer.plurals import counted
from bouncer.requests import cancelling
from bouncer.requests.counting import require_request
from bouncer.requests.progress import any_open
from bouncer.storage.dialects import is_sqlite
from bouncer.storage.tables import Contact, List, QueuedContact, Request, Result, User
from bouncer.storage.transactions import reading, writing

__all__ = ["Erased", "erase_person", "erase_request", "named"]

_CHUNK_ROWS = 2_000
_ALWAYS_LEFT = (
    "backups of the contacts database, and the database server's own logs",
    "the Prefect server's backups, its events until it forgets them, and in an SQLite file what is deleted there",
    "the temporary folders of other users and machines whose commands were killed",
    "files that were exported, sent or copied elsewhere, with results that another result has replaced",
    "earlier lists of a request to which another was added, and rejected lines in folders other than the list's",
    "Bouncer's own logs and backups",
)


@dataclass(frozen=True)
class Erased:
    """Account of an erasure, without the address.

    Attributes:
        contacts: Contacts that are gone, or would be.
        queue_rows: Their rows in the queue.
        results: Their verdicts in detail.
        users: Users whose address is gone.
        texts: Names, reasons and paths that the address was taken out of.
        batches_undone: Batches that were not sent yet; their other contacts are requeued.
        batches_at_bouncer: Batches that Bouncer is not done with; nothing of the erased is loaded from them.
        batches_to_delete: Batches at their end that Bouncer is asked to delete.
        batches_deleted: Those of them, and of earlier erasures, that it has deleted.
        flow_runs: Runs that were deleted from the Prefect server, with their logs and artifacts.
        files: Files that were deleted, or from which lines were taken.
        not_reached: All that may still hold the address, for the answer to the person.
        dry_run: Whether nothing was changed.
    """

    contacts: int = 0
    queue_rows: int = 0
    results: int = 0
    users: int = 0
    texts: int = 0
    batches_undone: int = 0
    batches_at_bouncer: int = 0
    batches_to_delete: int = 0
    batches_deleted: int = 0
    flow_runs: int = 0
    files: tuple[str, ...] = ()
    not_reached: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def is_nothing(self) -> bool:
        """True if nothing was found."""
        return not (self.contacts or self.queue_rows or self.results or self.users or self.texts or self.files)


class _OnlyLooked(Exception):
    # Rolls back what was only tried.
    def __init__(self, found: "_Found") -> None:
        super().__init__("nothing was changed")
        self.found = found


@dataclass(frozen=True)
class _Found:
    gone: Gone
    users: int
    texts: int
    kept: tuple[str, ...]


def erase_person(engine: Engine, email: str, *, exports: Sequence[Path], dry_run: bool = False) -> Erased:
    """Erases everything about an address, in one transaction; then it is taken out of files.

    Args:
        engine: The contacts database.
        email: The address, in any case.
        exports: The folders of our own exports.
        dry_run: Only report what would change.

    Raises:
        InputRefused: It is no address.
        DatabaseUnavailable: The database was away for too long.
    """
    wanted = Wanted.of(email)
    lists = files.lists_of(engine, None)
    try:
        found = _person(engine, wanted, dry_run=dry_run)
    except _OnlyLooked as looked:
        found = looked.found
    concerned = files.lists_of(engine, found.gone.requests)
    if dry_run:
        return _account(found, [], [], concerned, dry_run=True)
    pages = _forget_pages(engine)
    changed, refused = files.take_out_of_rejected(lists, wanted)
    deleted, kept = files.delete_exports(exports, found.gone.requests)
    return _account(found, [*changed, *deleted], [*refused, *kept, *pages], concerned)


def erase_request(
    engine: Engine, request_id: int, *, by: str, exports: Sequence[Path], dry_run: bool = False
) -> Erased:
    """Erases the contacts of a request, those of its deep pass, its list and its name; its batches and costs stay.

    A request that is not complete is cancelled first, so nothing of it is sent any more, and Bouncer ends early what it
    has of it. Contacts that other requests have too stay for these. Works in chunks; cut short, it goes on when it is
    run again.

    Args:
        engine: The contacts database.
        request_id: The request.
        by: Who wants it.
        exports: The folders of our own exports.
        dry_run: Only report what would change.

    Raises:
        InputRefused: There is no such request.
        DatabaseUnavailable: The database was away for too long.
    """
    _, requests = named(engine, request_id)
    concerned = files.lists_of(engine, requests)
    gone, kept = Gone(), list[str]()
    if dry_run:
        gone.queued, gone.contacts = _count(engine, requests)
        return _account(_Found(gone, 0, 0, ()), [], [], concerned, dry_run=True)
    for request in requests:
        gone.withdrawn += _cancel(engine, request, by)
        while some := _some_of_request(engine, request):
            _add(gone, some)
        kept += _request_itself(engine, request)
    pages = _forget_pages(engine)
    changed, refused = files.delete_rejected(concerned)
    deleted, left = files.delete_exports(exports, requests)
    found = _Found(gone, 0, 0, tuple(dict.fromkeys(kept)))
    return _account(found, [*changed, *deleted], [*refused, *left, *pages], concerned)


@reading
def named(connection: Connection, request_id: int) -> tuple[str | None, list[int]]:
    """Gives the name of a request, and its number with those of its deep passes.

    Raises:
        InputRefused: There is no such request.
    """
    require_request(connection, request_id)
    deep = connection.scalars(select(Request.request_id).where(Request.bouncer_deep_of == request_id))
    name = connection.scalar(select(Request.name).where(Request.request_id == request_id))
    return name, [request_id, *deep]


@writing
def _person(connection: Connection, wanted: Wanted, *, dry_run: bool) -> _Found:
    lock_all(connection)
    gone, kept = Gone(), list[str]()
    rows = connection.execute(
        select(Contact.global_id, Contact.email).where(
            or_(wanted.maybe_in(Contact.email), Contact.bouncer_address_key == wanted.key)
            if wanted.key is not None
            else wanted.maybe_in(Contact.email)
        )
    ).all()
    theirs = [row.global_id for row in rows if wanted.is_in(row.email)]
    erase_contacts(connection, theirs, gone, is_application=is_application_table(connection, Contact))
    if wanted.key is not None:
        _forget_former_address(connection, wanted.key, theirs, gone)
    users = _erase_users(connection, wanted, kept)
    texts, refused = erase_from_texts(connection, wanted)
    kept += [f"{column}: the rights of the database's user do not reach it" for column in refused]
    recount(connection, gone.requests)
    found = _Found(gone, users, texts, tuple(kept))
    if dry_run:
        raise _OnlyLooked(found)
    return found


def _forget_former_address(connection: Connection, key: bytes, theirs: Collection[int], gone: Gone) -> None:
    # The application has changed the address of these since; the verdict is still on the one that is erased.
    former = connection.scalars(
        select(Contact.global_id).where(Contact.bouncer_address_key == key, Contact.global_id.not_in(theirs))
    ).all()
    if former:
        gone.results += connection.execute(delete(Result).where(Result.global_id.in_(former))).rowcount
        bare = dict.fromkeys(("bouncer_address_key", *VERDICT_OF_CONTACT))
        connection.execute(update(Contact).where(Contact.global_id.in_(former)).values(bare))


def _erase_users(connection: Connection, wanted: Wanted, kept: list[str]) -> int:
    maybe = connection.execute(select(User.id, User.email).where(wanted.maybe_in(User.email))).all()
    users = [row.id for row in maybe if wanted.is_in(row.email)]
    if not users:
        return 0
    nameless = update(User).where(User.id.in_(users)).values(email=None)
    if is_application_table(connection, User) or try_to(connection, nameless) is None:
        kept.append(f"{counted(len(users), 'row')} of Users, the application's table")
        return 0
    return len(users)


@reading
def _count(connection: Connection, requests: Collection[int]) -> tuple[int, int]:
    of_them = QueuedContact.request_id.in_(requests)
    rows, contacts = connection.execute(
        select(func.count(), func.count(QueuedContact.global_id.distinct())).where(of_them)
    ).one()
    return rows, contacts


@writing
def _cancel(connection: Connection, request_id: int, by: str) -> int:
    if not any_open(connection, request_id):
        return 0
    cancelling.mark(connection, request_id, by=by, reason="erased")
    return cancelling.withdraw_unsent(connection, request_id)


@writing
def _some_of_request(connection: Connection, request_id: int) -> Gone | None:
    # Under the locks: whoever queues one of these contacts for another request meanwhile waits, and finds it gone.
    lock_all(connection)
    contacts = connection.scalars(
        select(QueuedContact.global_id)
        .where(QueuedContact.request_id == request_id)
        .order_by(QueuedContact.queue_id)
        .limit(_CHUNK_ROWS)
    ).all()
    if not contacts:
        return None
    others = set(
        connection.scalars(
            select(QueuedContact.global_id)
            .where(QueuedContact.global_id.in_(contacts), QueuedContact.request_id != request_id)
            .distinct()
        )
    )
    gone = Gone()
    erase_contacts(connection, set(contacts) - others, gone, is_application=is_application_table(connection, Contact))
    if others:
        leave_to_others(connection, request_id, others, gone)
    return gone


@writing
def _request_itself(connection: Connection, request_id: int) -> list[str]:
    connection.execute(delete(List).where(List.request_id == request_id))
    recount(connection, [request_id])
    nameless = update(Request).where(Request.request_id == request_id).values(name=None)
    if is_application_table(connection, Request) or try_to(connection, nameless) is None:
        return ["the request's row in Requests, with its name, which is the application's"]
    return []


def _add(gone: Gone, some: Gone) -> None:
    gone.contacts += some.contacts
    gone.kept_contacts += some.kept_contacts
    gone.queued += some.queued
    gone.results += some.results
    gone.withdrawn += some.withdrawn
    gone.at_bouncer |= some.at_bouncer
    gone.to_delete |= some.to_delete
    gone.out_of_reach |= some.out_of_reach


def _account(
    found: _Found,
    changed: Sequence[str],
    refused: Sequence[str],
    lists: Sequence[files.ListFiles],
    *,
    dry_run: bool = False,
) -> Erased:
    gone = found.gone
    left = list(found.kept)
    if gone.kept_contacts:
        rows = counted(gone.kept_contacts, "row")
        left.append(f"{rows} of Contacts_Global, the application's table, with the address")
    if gone.out_of_reach:
        batches = counted(len(gone.out_of_reach), "batch", "batches")
        left.append(f"{batches} asked in real time, or lost: Bouncer deletes no such")
    left += [f"a file that could not be changed: {file}" for file in refused]
    left += [f"a list or its result: {place}" for each in lists for place in each.handed_out]
    return Erased(
        contacts=gone.contacts + gone.kept_contacts,
        queue_rows=gone.queued,
        results=gone.results,
        users=found.users,
        texts=found.texts,
        batches_undone=gone.withdrawn,
        batches_at_bouncer=len(gone.at_bouncer),
        batches_to_delete=len(gone.to_delete),
        files=tuple(changed),
        not_reached=(*left, *_ALWAYS_LEFT),
        dry_run=dry_run,
    )


def _forget_pages(engine: Engine) -> list[str]:
    # What SQLite deletes stays readable in its file until the page is used again, and in its journal.
    if not is_sqlite(engine):
        return []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Not the minute that a transaction waits: whoever reads longer than a moment is reported instead.
        connection.detach()
        connection.exec_driver_sql("PRAGMA busy_timeout = 1000")
        is_busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return ["the SQLite file, which somebody is reading; run the same again later"] if is_busy else []
