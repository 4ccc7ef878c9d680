"""Keeps the counts of requests at rest, and finds the oldest verdicts by an index."""

import sqlalchemy as sa

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_application_table, ensure_columns

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the column and the index, which the servers make while others read and write."""
    ensure_columns("Requests", sa.Column("bouncer_counts", sa.Text))
    ensure_application_table(
        "Contacts_Global",
        sa.Column("global_id", sa.Integer, primary_key=True),
        sa.Column("bouncer_status", sa.String(50)),
        sa.Column("bouncer_verified_ts", sa.TIMESTAMP),
        sa.Index("idx_bouncer_verdict_age", "bouncer_status", "bouncer_verified_ts"),
    )


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")
