"""Import: the contacts of a CSV file go into the queue, each once, in chunks that are safe to run twice."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.types import TypeEngine

from bouncer.addresses.address_keys import fill_address_keys, renew_keys, with_keys
from bouncer.addresses.normalisation import domain_hash
from bouncer.batches.admission import is_cancelled
from bouncer.credits.caps import set_cap
from bouncer.errors import InputRefused
from bouncer.files.checked_cells import CheckedAddress, check_cells
from bouncer.files.csv.reading import Chunk, Layout, RejectedLine, inspect, read_chunks
from bouncer.files.lists.list_rows import note_import, note_import_ended, record_list
from bouncer.files.lists.sources import STANDARD_INPUT, ListSource, is_url, name_of, opened_list
from bouncer.files.rejected_lines import RejectedFile
from bouncer.files.unstorable_addresses import unstorable
from bouncer.prefetching import one_ahead
from bouncer.requests.progress import note_open
from bouncer.requests.users import find_or_make_user, known_user, user_named
from bouncer.safe_text import visible
from bouncer.storage.bulk import stage
from bouncer.storage.locks import Only, alone
from bouncer.storage.tables import Contact, Priority, QueuedContact, QueueStatus, Request, User
from bouncer.storage.transactions import writing

__all__ = ["ImportReport", "NamedRequest", "find_or_make_request", "import_contacts", "request_names"]

_CHUNK_ROWS = 20_000
_STAGED: dict[str, TypeEngine[Any]] = {
    "line": Integer(),
    "address": String(320),
    "key": LargeBinary(16),
    "domain_hash": String(64),
}
_NAME_CHARACTERS = 255


@dataclass(frozen=True)
class ImportReport:
    """Result of an import; its lines are queued, duplicates or rejected, those with split cells several times.

    Attributes:
        request_id: The request that the contacts are queued for.
        request_name: Its name.
        column: The column that the addresses were taken from.
        lines: Lines with anything in them, without the header.
        addresses: Addresses that the column held on them, equal ones included.
        queued: Contacts put into the queue.
        duplicates: Lines whose address, in any case, came before in the file or was in the request already.
        rejected: Lines without a valid address.
        rejected_file: Where these are listed with line, reason and value; None where there are none, or no place.
        created: Contacts that the database did not have.
        taken_off: Lines by what was taken off their address, such as a name, quotes or invisible characters.
        notes: What a person should know about how the file was read.
    """

    request_id: int
    request_name: str
    column: str
    lines: int
    addresses: int
    queued: int
    duplicates: int
    rejected: int
    rejected_file: Path | None
    created: int
    taken_off: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class NamedRequest:
    """A request of a user, found or made by its name."""

    request_id: int
    user_id: int
    name: str


def import_contacts(  # noqa: PLR0913  # each is something that a person may want otherwise
    engine: Engine,
    path: Path | str,
    *,
    request_name: str | None = None,
    user: str | int | None = None,
    priority: Priority = Priority.NORMAL,
    column: str | None = None,
    max_credits: int | None = None,
    split: bool = False,
    add: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Queues the contacts of a list for verification.

    A second import of a file, or one after a crash, queues what is missing and nothing twice. Contacts are found by
    their address in any case; of several with the same address, the oldest is queued.

    Args:
        engine: The contacts database.
        path: The list, a place for ``opened_list``: a file, ``-`` or a URL; CSV, packed or not, or an Excel workbook.
        request_name: The user's request to add to, made where there is none; None for the file's name.
        user: The user's number, or e-mail address, for which one is made where there is none; None for ``LOCAL_USER``.
        priority: How urgent these contacts are.
        column: The header of the column of addresses, or its number from 1; None to find it.
        max_credits: The most credits that the request may cost from now on, 0 for any number; None to leave that as it
            is.
        split: Queues each address of a cell that holds several; otherwise such a line is rejected.
        add: Adds the list to a request that is finished, and was another list.
        progress: Called after each chunk with the lines and the bytes done so far.

    Returns:
        What was done.

    Raises:
        InputRefused: The file or the request cannot be used; nothing was changed.
        DatabaseUnavailable: The database was away for too long; the same import again does the rest.
    """
    names = request_names(path, request_name, user)
    with opened_list(str(path)) as source:
        layout = inspect(source.path, column, source.name)
        try:
            request = _request_for(engine, names, source, layout, max_credits, split=split, add=add)
            fill_address_keys(engine)
            return _import(engine, request, source, layout, priority, progress, split=split)
        except (DataError, IntegrityError, OperationalError) as error:
            raise InputRefused(
                f"The database refused to store the contacts ({_reason(error)}); mend that and import again: "
                "it goes on where it stopped"
            ) from None


@writing
def _request_for(
    connection: Connection,
    names: tuple[str, str | int],
    source: ListSource,
    layout: Layout,
    max_credits: int | None,
    *,
    split: bool,
    add: bool,
) -> NamedRequest:
    request = find_or_make_request(connection, *names)
    record_list(connection, request.request_id, request.name, source, layout, split=split, add=add)
    if max_credits is not None:
        # Before the first contact is queued, which may be claimed at once.
        set_cap(connection, request.request_id, max_credits or None)
    return request


def _import(
    engine: Engine,
    request: NamedRequest,
    source: ListSource,
    layout: Layout,
    priority: Priority,
    progress: Callable[[int, int], None] | None,
    *,
    split: bool,
) -> ImportReport:
    lines = addresses = queued = rejected = created = 0
    taken_off: Counter[str] = Counter()
    with RejectedFile(_beside(source)) as listing:
        # The next chunk is read and checked while the database is busy with this one: a fifth less time.
        for chunk in one_ahead(map(partial(_check, split=split), read_chunks(layout, _CHUNK_ROWS))):
            listing.add(chunk.rejected)
            tries: list[tuple[int, int]] = []
            lines += chunk.lines
            addresses += chunk.addresses
            rejected += len(chunk.rejected)
            so_far = {
                "bytes_read": chunk.bytes_done,
                "lines": lines,
                "addresses": addresses,
                "rejected": rejected,
            }
            unfit = _queue_what_fits(engine, request, priority, chunk.contacts, so_far, tries)
            listing.add(unfit)
            addresses -= len(unfit)
            rejected += len(unfit)
            # After a commit of unknown outcome, the second try finds done what the first did.
            created += max(contacts for contacts, _ in tries)
            queued += max(rows for _, rows in tries)
            taken_off += chunk.taken_off
            if progress is not None:
                progress(lines, chunk.bytes_done)
    note_import_ended(engine, request.request_id)
    return ImportReport(
        request_id=request.request_id,
        request_name=request.name,
        column=layout.column_name,
        lines=lines,
        addresses=addresses,
        queued=queued,
        duplicates=addresses - queued,
        rejected=rejected,
        rejected_file=listing.path,
        created=created,
        taken_off=dict(taken_off),
        notes=layout.notes + listing.notes,
    )


def _queue_what_fits(
    engine: Engine,
    request: NamedRequest,
    priority: Priority,
    contacts: Mapping[str, Sequence[Any]],
    so_far: dict[str, int],
    tries: list[tuple[int, int]],
) -> list[RejectedLine]:
    try:
        _queue(engine, request, priority, contacts, so_far, tries)
    except (DataError, IntegrityError, OperationalError):
        # The application may have made one of these contacts since, which then only lacks its key.
        fill_address_keys(engine)
        # A column for Western letters, or one that takes u and ü for the same, has room for domains in ASCII.
        contacts = {**contacts, "address": contacts["normalised"]}
        unfit = unstorable(engine, contacts)
        left_out = {line.value for line in unfit}
        fits = [address not in left_out for address in contacts["address"]]
        fitting = {name: list(compress(values, fits)) for name, values in contacts.items()}
        so_far = {
            **so_far,
            "addresses": so_far["addresses"] - len(unfit),
            "rejected": so_far["rejected"] + len(unfit),
        }
        _queue(engine, request, priority, fitting, so_far, tries)
        return unfit
    return []


def _beside(source: ListSource) -> Path:
    # The rejected lines are listed beside the list, or here where it is elsewhere.
    return Path(source.name if is_url(source.given) or source.given == STANDARD_INPUT else source.given)


def _reason(error: DBAPIError) -> str:
    # The words of MySQL's 1062 and 1366 quote the address.
    code, *words = error.orig.args if error.orig is not None else ("unknown",)
    return str(words[-1]) if words and code not in {1062, 1366} else f"error {code}"


@dataclass(frozen=True)
class _Checked:
    lines: int
    addresses: int
    taken_off: Counter[str]
    contacts: Mapping[str, Sequence[Any]]
    """A column for each of ``_STAGED``, the address as it was written; and one with the normalised address."""
    rejected: list[RejectedLine]
    bytes_done: int


def request_names(path: Path | str, request_name: str | None, user: str | int | None) -> tuple[str, str | int]:
    """The name of the request that an import is for, and the name or number of its user.

    Args:
        path: The file; its name is the request's by default.
        request_name: The request's name, or None for the file's.
        user: The user's number or e-mail address, or None for ``LOCAL_USER``.

    Raises:
        InputRefused: One of them cannot be used.
    """
    name = visible((name_of(str(path)) if request_name is None else request_name).strip())
    if not 1 <= len(name) <= _NAME_CHARACTERS:
        raise InputRefused(
            f"The name of a request has 1 to {_NAME_CHARACTERS} characters; choose another with --request"
        )
    return name, user if isinstance(user, int) else user_named(user)


def find_or_make_request(connection: Connection, name: str, user: str | int) -> NamedRequest:
    """Finds a user's request by its name, and makes it, and the user, where there is none.

    Args:
        connection: In a transaction that writes.
        name: The request's name.
        user: The user's number, or the name that ``user_named`` gives.

    Raises:
        InputRefused: The request is cancelled, or there is no user of this number.
    """
    user_id = known_user(connection, user) if isinstance(user, int) else find_or_make_user(connection, user)
    # Two imports at once must not both make the request.
    connection.execute(select(User.id).where(User.id == user_id).with_for_update())
    # Compared here too: to MariaDB and MySQL, Leads and leads are one name.
    namesakes = connection.execute(
        select(Request.request_id, Request.name)
        .where(Request.user_id == user_id, Request.name == name)
        .order_by(Request.request_id)
    )
    request_id = next((id_ for id_, found in namesakes if found == name), None)
    if request_id is not None and is_cancelled(connection, request_id):
        raise InputRefused(
            f"request {request_id} is cancelled; choose another name with --request, or take the cancellation back "
            f"with bouncer-flows requeue --request {request_id}"
        )
    if request_id is None:
        request_id = _new_id(connection, insert(Request).values(user_id=user_id, name=name))
    return NamedRequest(request_id, user_id, name)


def _new_id(connection: Connection, statement: Insert) -> int:
    key: int = connection.execute(statement).lastrowid
    return key


def _check(chunk: Chunk, *, split: bool) -> _Checked:
    cells = check_cells(chunk.addresses, split=split)
    rejected = [
        RejectedLine(chunk.lines[one.cell], one.reason, chunk.addresses[one.cell])
        for one in cells.addresses
        if one.reason is not None
    ]
    valid = [one for one in cells.addresses if one.reason is None]
    first_of_key: dict[bytes, CheckedAddress] = {}
    for one in valid:
        first_of_key.setdefault(one.key, one)
    contacts = first_of_key.values()
    hashes = {domain: domain_hash(domain) for domain in {one.domain for one in contacts}}
    return _Checked(
        lines=len(chunk.lines) + len(chunk.rejected),
        addresses=len(valid),
        taken_off=cells.taken_off,
        contacts={
            "line": [chunk.lines[one.cell] for one in contacts],
            "address": [one.written for one in contacts],
            "normalised": [one.address for one in contacts],
            "key": list(first_of_key),
            "domain_hash": [hashes[one.domain] for one in contacts],
        },
        rejected=sorted(chunk.rejected + rejected, key=lambda line: line.line),
        bytes_done=chunk.bytes_done,
    )


@writing
def _queue(
    connection: Connection,
    request: NamedRequest,
    priority: Priority,
    contacts: Mapping[str, Sequence[Any]],
    so_far: dict[str, int],
    tries: list[tuple[int, int]],
) -> None:
    # Two imports into one request at once must not both find a contact missing.
    connection.execute(select(Request.request_id).where(Request.request_id == request.request_id).with_for_update())
    note_import(connection, request.request_id, **so_far)
    table = stage(connection, "import_contacts", _STAGED, contacts)
    staged = table.c
    # Nor must two imports into two requests.
    alone(connection, Only.NEW_CONTACTS)
    created = _make_missing(connection, table)
    # Where all are new there is nothing to be mistaken about, so a first import does not pay for this look.
    if created < len(contacts["key"]) and _renew_keys(connection, table):
        created += _make_missing(connection, table)
    queued = connection.execute(
        insert(QueuedContact).from_select(
            ["global_id", "user_id", "request_id", "status", "priority", "domain_hash"],
            select(
                func.min(Contact.global_id),
                literal(request.user_id),
                literal(request.request_id),
                literal(QueueStatus.QUEUED.value),
                literal(int(priority)),
                staged.domain_hash,
            )
            .join(Contact, Contact.bouncer_address_key == staged.key)
            .outerjoin(
                QueuedContact,
                # A sum, because the index on requests must not be used: it would lead to a million rows each time.
                and_(
                    QueuedContact.global_id == Contact.global_id,
                    QueuedContact.request_id + 0 == request.request_id,
                ),
            )
            .group_by(staged.line, staged.key, staged.domain_hash)
            # Under none of the contacts with this address.
            .having(func.count(QueuedContact.queue_id) == 0)
            .order_by(staged.line),
        )
    )
    if queued.rowcount:
        note_open(connection, request.request_id)
    tries.append((created, queued.rowcount))


def _make_missing(connection: Connection, staged: Table) -> int:
    made = connection.execute(
        insert(Contact).from_select(
            ["email", "bouncer_address_key"],
            select(staged.c.address, staged.c.key)
            .outerjoin(Contact, Contact.bouncer_address_key == staged.c.key)
            .where(Contact.global_id.is_(None))
            .order_by(staged.c.line),
        )
    )
    return made.rowcount


def _renew_keys(connection: Connection, staged: Table) -> int:
    # A contact whose address the application has changed since is not the one that the file names. Few are written
    # otherwise than their normalised form, and only those are looked at here.
    written_otherwise = connection.execute(
        select(Contact.global_id, Contact.email, Contact.bouncer_address_key)
        .select_from(staged)
        .join(Contact, Contact.bouncer_address_key == staged.c.key)
        .where(func.lower(Contact.email) != func.lower(staged.c.address))
    ).all()
    if not written_otherwise:
        return 0
    return renew_keys(connection, with_keys(written_otherwise))
