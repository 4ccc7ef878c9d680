"""The moment at which Bouncer began to verify a batch: queued there and running there are two states."""

import sqlalchemy as sa
from alembic import op

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_columns

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the columns, and fills them for what is under way."""
    ensure_columns("Bouncer_Batches", sa.Column("running_ts", sa.TIMESTAMP))
    _note_running_batches()


def _note_running_batches() -> None:
    # Of a batch at Bouncer without progress nobody knows whether it runs; the next look tells.
    names = ("status", "batch_id", "processed", "progress_ts", "uploaded_ts", "created_ts", "running_ts")
    batches = sa.table("Bouncer_Batches", *map(sa.column, names))
    op.execute(
        batches.update()
        .where(
            batches.c.running_ts.is_(None),
            batches.c.status.in_(["queued", "processing"]),
            batches.c.batch_id.is_not(None),
            batches.c.processed > 0,
        )
        .values(running_ts=sa.func.coalesce(batches.c.progress_ts, batches.c.uploaded_ts, batches.c.created_ts))
    )


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")
