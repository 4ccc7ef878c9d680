"""Notes when Bouncer refused to finish a batch, as it does while the batch is queued there."""

import sqlalchemy as sa
from alembic import op

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_columns

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the column, and fills it for what is under way."""
    ensure_columns("Bouncer_Batches", sa.Column("finish_refused_ts", sa.TIMESTAMP))
    _ask_again_for_what_has_no_progress()


def _ask_again_for_what_has_no_progress() -> None:
    # A refusal came with HTTP 200 and was taken for a grant. A batch that was really finished only refuses once more.
    names = ("status", "batch_id", "processed", "finish_requested_ts", "finish_refused_ts")
    batches = sa.table("Bouncer_Batches", *map(sa.column, names))
    op.execute(
        batches.update()
        .where(
            batches.c.finish_requested_ts.is_not(None),
            batches.c.status.in_(["queued", "processing"]),
            batches.c.batch_id.is_not(None),
            batches.c.processed == 0,
        )
        .ordered_values(
            (batches.c.finish_refused_ts, batches.c.finish_requested_ts), (batches.c.finish_requested_ts, None)
        )
    )


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")
