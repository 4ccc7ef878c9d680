"""Lists: which file a request was queued from, how far it has come, and where its result is."""

import sqlalchemy as sa

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import ensure_table

revision = "0003"
down_revision = "0002"

_zero = sa.text("0")


def upgrade() -> None:
    """Creates the table."""
    ensure_table(
        "Bouncer_Lists",
        sa.Column(
            "request_id",
            sa.ForeignKey("Requests.request_id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("source_digest", sa.String(32), nullable=False),
        sa.Column("source_bytes", sa.BigInteger, nullable=False),
        sa.Column("column_name", sa.String(255), nullable=False),
        sa.Column("column_number", sa.Integer, nullable=False),
        sa.Column("split", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("bytes_read", sa.BigInteger, nullable=False, server_default=_zero),
        sa.Column("lines", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("addresses", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("rejected", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("imported_ts", sa.TIMESTAMP),
        sa.Column("result", sa.Text),
        sa.Column("result_lines", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("result_ts", sa.TIMESTAMP),
        # Names of files have characters that the plan's three-byte tables have no room for.
        charset="utf8mb4",
    )


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The table is not taken away again; restore a backup instead")
