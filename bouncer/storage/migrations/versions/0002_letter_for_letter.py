"""Address keys fold a letter for a letter: groß@ and gross@ are two mailboxes, each with a verdict of its own."""

import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from bouncer.errors import SettingRefused
from bouncer.plurals import counted
from bouncer.storage.migrations.adopting import note_change

revision = "0002"
down_revision = "0001"

_STEP_ROWS = 10_000
_VERDICT = (
    "bouncer_status",
    "bouncer_reason",
    "bouncer_score",
    "bouncer_verified_ts",
    "bouncer_batch_id",
    "bouncer_deep_ts",
)
_contacts = sa.table(
    "Contacts_Global",
    sa.column("global_id"),
    sa.column("email"),
    sa.column("bouncer_address_key"),
    *map(sa.column, _VERDICT),
)


def upgrade() -> None:
    """Forgets the keys of the few addresses concerned; the next import or claim gives them their new ones.

    Which of two addresses that shared a verdict had it, nobody knows: both are verified anew when they are asked for.
    """
    connection = op.get_bind()
    forgotten = 0
    for rows in _beyond_ascii(connection):
        concerned = [row for row in rows if any(len(letter.casefold()) > 1 for letter in _local_part(row.email))]
        # First, so that what is cut short is done whole by the next run: the keys tell what is still to do.
        for key in {row.bouncer_address_key for row in concerned}:
            _forget_shared_verdict(connection, key)
        for row in concerned:
            its_row = _contacts.c.global_id == row.global_id
            connection.execute(_contacts.update().where(its_row).values(bouncer_address_key=None))
        forgotten += len(concerned)
    if forgotten:
        note_change(f"address keys of {counted(forgotten, 'contact')} are to be renewed")


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The keys are not made the old ones again; restore a backup instead")


def _beyond_ascii(connection: sa.Connection) -> Iterator[list[sa.Row[int, str, bytes]]]:
    email = _contacts.c.email
    # Characters of several bytes; no index helps, and none is needed once.
    in_bytes = sa.cast(email, sa.LargeBinary) if connection.dialect.name == "sqlite" else email
    characters = sa.func.length(email) if connection.dialect.name == "sqlite" else sa.func.char_length(email)
    after = -1
    while True:
        rows = connection.execute(
            sa.select(_contacts.c.global_id, email, _contacts.c.bouncer_address_key)
            .where(
                _contacts.c.global_id > after,
                _contacts.c.bouncer_address_key.is_not(None),
                sa.func.length(in_bytes) != characters,
            )
            .order_by(_contacts.c.global_id)
            .limit(_STEP_ROWS)
        ).all()
        if not rows:
            return
        yield list(rows)
        after = rows[-1].global_id


def _local_part(email: str) -> str:
    return unicodedata.normalize("NFC", email.strip().rpartition("@")[0])


def _folded(email: str) -> str:
    letters = [min((letter.casefold(), letter.lower(), letter), key=len) for letter in _local_part(email)]
    return "".join(letters)


def _forget_shared_verdict(connection: sa.Connection, key: bytes) -> None:
    its_contacts = _contacts.c.bouncer_address_key == key
    emails = connection.scalars(sa.select(_contacts.c.email).where(its_contacts)).all()
    if len(set(map(_folded, emails))) > 1:
        connection.execute(_contacts.update().where(its_contacts).values(dict.fromkeys(_VERDICT)))
