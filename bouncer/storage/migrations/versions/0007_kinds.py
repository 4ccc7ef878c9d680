"""Makes columns of what reasons told in words: the kind of a pause, and a contact that a cancellation took out."""

import sqlalchemy as sa
from alembic import op

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_columns

revision = "0007"
down_revision = "0006"

_RESTORED = "the contacts database is older than uploads that were made from it%"


def upgrade() -> None:
    """Adds the columns, and fills them from the reasons."""
    ensure_columns("Bouncer_Accounts", sa.Column("paused_kind", sa.String(20)))
    ensure_columns("Bouncer_Queue", sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false()))
    _read_pauses()
    _read_cancellations()


def _read_pauses() -> None:
    names = ("paused_ts", "paused_by", "paused_reason", "paused_kind")
    accounts = sa.table("Bouncer_Accounts", *(sa.column(name, sa.String) for name in names))
    by_ingest = accounts.c.paused_by == "ingest"
    kind = sa.case(
        (by_ingest & (accounts.c.paused_reason == "out of credits"), "out_of_credits"),
        (by_ingest & accounts.c.paused_reason.like(_RESTORED), "restored"),
        else_="person",
    )
    paused = accounts.c.paused_ts.is_not(None) & accounts.c.paused_kind.is_(None)
    op.execute(accounts.update().where(paused).values(paused_kind=kind))


def _read_cancellations() -> None:
    queue = sa.table(
        "Bouncer_Queue",
        sa.column("status", sa.String),
        sa.column("error_message", sa.String),
        sa.column("cancelled", sa.Boolean),
    )
    was_cancelled = (queue.c.status == "failed") & queue.c.error_message.like("cancelled by %")
    op.execute(queue.update().where(was_cancelled).values(cancelled=sa.true()))


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")
