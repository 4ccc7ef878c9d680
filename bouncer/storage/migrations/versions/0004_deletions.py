"""Deletions: which batches Bouncer was asked to delete once they were loaded."""

import sqlalchemy as sa

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_table

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Creates the table."""
    ensure_table(
        "Bouncer_Deletions",
        sa.Column(
            "batch_id",
            sa.ForeignKey("Bouncer_Batches.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("deleted_ts", sa.TIMESTAMP, nullable=False, server_default=sa.text("CURRENT_TIMESTAMP")),
    )


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The table is not taken away again; restore a backup instead")
