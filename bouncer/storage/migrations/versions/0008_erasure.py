"""Counts the addresses of a batch that were erased, so that Bouncer is asked to delete the batch."""

import sqlalchemy as sa

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_columns

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds the column."""
    ensure_columns("Bouncer_Batches", sa.Column("erased", sa.Integer, nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")
