"""Notes when Bouncer refused to finish a batch, as it does while the batch is queued there."""

import sqlalchemy as sa

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_columns

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the column."""
    ensure_columns("Bouncer_Batches", sa.Column("finish_refused_ts", sa.TIMESTAMP))


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")
