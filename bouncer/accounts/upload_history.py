"""Count of the uploads that an account has begun, so that a database restored to an older state shows.

The count is kept here and, by ``blocks.upload_counts``, in Prefect. A backup that is restored brings the older count
back. Then a new history begins: what Prefect remembers of the old one shows each backup of it for what it is, also one
that is restored later.

The first history of an account follows from the database and the account's name, so that a backup from before the
account was ever used belongs to it too.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Connection, bindparam, func, select, update

from bouncer.accounts.state import PauseKind, ensure_row
from bouncer.storage.tables import Account, Database
from bouncer.storage.transactions import reading, writing

__all__ = ["OLDER_THAN_ITS_UPLOADS", "UploadCount", "begin_new_history", "count_upload", "read_uploads"]

OLDER_THAN_ITS_UPLOADS = (
    "the contacts database is older than uploads that were made from it, so what waits in it may have been paid for "
    "already; docs/how-to/restore.md tells what to look at"
)
"""Why an account is paused whose database was restored from a backup."""

# Read before every upload, so in one statement: the database has its row, the account perhaps none yet.
_UPLOADS = (
    select(Database.id, Account.upload_history, func.coalesce(Account.uploads, 0).label("uploads"))
    .select_from(Database)
    .outerjoin(Account, Account.account == bindparam("account"))
)


@dataclass(frozen=True)
class UploadCount:
    """Count of the uploads that an account has begun.

    Attributes:
        history: Which history of uploads they are of; no two databases share one unless one is a copy.
        uploads: How many.
    """

    history: str
    uploads: int


@reading
def read_uploads(connection: Connection, account: str) -> UploadCount:
    """Reads the count; 0 for an account that was never used."""
    row = connection.execute(_UPLOADS, {"account": account}).one()
    return UploadCount(row.upload_history or _first_history(row.id, account), row.uploads)


def count_upload(connection: Connection, account: str) -> None:
    """Counts one more upload, in the transaction that lets it begin and has locked the account's row."""
    connection.execute(update(Account).where(Account.account == account).values(uploads=Account.uploads + 1))


@writing
def begin_new_history(connection: Connection, account: str, mark: UploadCount) -> bool:
    """Pauses an account whose count is lower than it was once, and begins a new history for it.

    Compared here once more: uploads that have begun since the count was read are no older state.

    Args:
        connection: In a transaction that writes.
        account: The account.
        mark: The highest count that was ever written down, and of which history.

    Returns:
        Whether that is so.
    """
    ensure_row(connection, account)
    first = _first_history(connection.scalars(select(Database.id)).one(), account)
    history = func.coalesce(Account.upload_history, first)
    changed = connection.execute(
        update(Account)
        .where(Account.account == account, history == mark.history, Account.uploads < mark.uploads)
        .values(
            upload_history=uuid4().hex,
            # Whoever has paused it did not know this.
            paused_ts=func.current_timestamp(),
            paused_by="ingest",
            paused_reason=OLDER_THAN_ITS_UPLOADS,
            paused_kind=PauseKind.RESTORED,
        )
    )
    return changed.rowcount == 1


def _first_history(database: str, account: str) -> str:
    return uuid5(UUID(database), account).hex
