"""The tables of the plan, what crash safety adds to them, and what they need of the application's tables."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from bouncer.errors import SettingRefused
from bouncer.storage.migrations.adopting import (
    NOW_AT_EVERY_UPDATE,
    ensure_application_table,
    ensure_table,
    require_application_table,
)

revision = "0001"
down_revision = None

_now = sa.text("CURRENT_TIMESTAMP")
_zero = sa.text("0")


def upgrade() -> None:
    """Creates the tables, or adds to existing ones what they lack; the application's are checked first."""
    require_application_table("Users", "id")
    require_application_table("Requests", "request_id")
    require_application_table("Contacts_Global", "global_id", "email")
    ensure_application_table(
        "Users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(320)),
    )
    ensure_application_table(
        "Requests",
        sa.Column("request_id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.ForeignKey("Users.id", ondelete="CASCADE")),
        sa.Column("name", sa.String(255)),
        sa.Column("created_ts", sa.TIMESTAMP, server_default=_now),
        sa.Column("bouncer_max_credits", sa.Integer),
        sa.Column("bouncer_queued", sa.Integer),
        sa.Column("bouncer_in_flight", sa.Integer),
        sa.Column("bouncer_done", sa.Integer),
        sa.Column("bouncer_failed", sa.Integer),
        sa.Column("bouncer_counted_ts", sa.TIMESTAMP),
        sa.Column("bouncer_completed_ts", sa.TIMESTAMP),
        sa.Column("bouncer_announced_ts", sa.TIMESTAMP),
        sa.Column("bouncer_cancelled", sa.Integer),
        sa.Column("bouncer_cancelled_ts", sa.TIMESTAMP),
        sa.Column("bouncer_cancelled_by", sa.String(100)),
        sa.Column("bouncer_cancelled_reason", sa.String(255)),
        sa.Column("bouncer_deep_of", sa.Integer),
        sa.Index("idx_bouncer_open", "bouncer_announced_ts", "bouncer_counted_ts"),
        sa.Index("idx_bouncer_cancelled", "bouncer_cancelled_ts"),
        sa.Index("idx_bouncer_deep_of", "bouncer_deep_of"),
    )
    ensure_application_table(
        "Contacts_Global",
        sa.Column("global_id", sa.Integer, primary_key=True),
        sa.Column("email", sa.String(320), nullable=False),
        sa.Column("bouncer_status", sa.String(50)),
        sa.Column("bouncer_reason", sa.String(100)),
        sa.Column("bouncer_score", sa.Integer),
        sa.Column("bouncer_verified_ts", sa.TIMESTAMP),
        sa.Column("bouncer_address_key", sa.LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")),
        sa.Column("bouncer_batch_id", sa.Integer),
        sa.Column("bouncer_deep_ts", sa.TIMESTAMP),
        sa.Index("idx_bouncer_address_key", "bouncer_address_key"),
    )
    ensure_table(
        "Bouncer_Batches",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("batch_id", sa.String(50), unique=True),
        sa.Column("user_id", sa.ForeignKey("Users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("request_id", sa.ForeignKey("Requests.request_id", ondelete="CASCADE"), nullable=False),
        sa.Column(
            "status",
            sa.Enum("queued", "processing", "completed", "failed", "downloading"),
            nullable=False,
            server_default="queued",
        ),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("duplicates", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("created_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        sa.Column("updated_ts", sa.TIMESTAMP, nullable=False, server_default=NOW_AT_EVERY_UPDATE),
        sa.Column("completed_ts", sa.TIMESTAMP),
        sa.Column("error_message", sa.Text),
        sa.Column("retry_count", sa.Integer, nullable=False, server_default=_zero),
        # Beyond the plan:
        sa.Column("account", sa.String(50), nullable=False, server_default="default"),
        sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("50")),
        sa.Column("owner", sa.String(100)),
        sa.Column("heartbeat_ts", sa.TIMESTAMP),
        sa.Column("slot_lease", sa.String(36)),
        sa.Column("upload_begun_ts", sa.TIMESTAMP),
        sa.Column("uploaded_ts", sa.TIMESTAMP),
        sa.Column("progress_ts", sa.TIMESTAMP),
        sa.Column("finish_requested_ts", sa.TIMESTAMP),
        sa.Column("verified_ts", sa.TIMESTAMP),
        sa.Column("held_ts", sa.TIMESTAMP),
        sa.Column("split_from", sa.Integer),
        sa.Column("processed", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("credits", sa.Integer),
        sa.Column("missing", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("unmatched", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("ambiguous_uploads", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("ambiguous_addresses", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("expected_credits", sa.Integer),
        sa.Column("realtime", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("unanswered", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("callback_token", sa.String(64), unique=True),
        sa.Column("callback_ts", sa.TIMESTAMP),
        sa.Column("callback_ids", sa.String(255)),
        sa.Column("layer", _layer(), nullable=False, server_default="basic"),
        sa.Column("unreadable_ts", sa.TIMESTAMP),
        sa.Column("lost_addresses", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("unknown_before", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("unknown_resolved", sa.Integer, nullable=False, server_default=_zero),
        sa.Index("idx_status", "status"),
        sa.Index("idx_created", "created_ts"),
        sa.Index("idx_account_status", "account", "status"),
        sa.Index("idx_completed", "completed_ts"),
    )
    ensure_table(
        "Bouncer_Queue",
        sa.Column("queue_id", sa.Integer, primary_key=True),
        sa.Column("global_id", sa.ForeignKey("Contacts_Global.global_id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", sa.ForeignKey("Users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("request_id", sa.ForeignKey("Requests.request_id", ondelete="CASCADE"), nullable=False),
        sa.Column("batch_id", sa.ForeignKey("Bouncer_Batches.id", ondelete="SET NULL")),
        sa.Column(
            "status",
            sa.Enum("queued", "assigned", "completed", "failed"),
            nullable=False,
            server_default="queued",
        ),
        sa.Column("priority", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("domain_hash", sa.String(64)),
        sa.Column("created_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        sa.Column("assigned_ts", sa.TIMESTAMP),
        sa.Column("completed_ts", sa.TIMESTAMP),
        # Beyond the plan:
        sa.Column("attempts", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("reused", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("error_message", sa.Text),
        sa.Column("layer", _layer(), nullable=False, server_default="basic"),
        sa.Column("verdict_after_ts", sa.TIMESTAMP),
        sa.Index("idx_status_priority", "status", sa.text("priority DESC")),
        sa.Index("idx_domain_hash", "domain_hash"),
        sa.Index("idx_created", "created_ts"),
        sa.Index("idx_claim", "status", "layer", "priority", "request_id", "queue_id"),
        sa.Index("idx_request_status", "request_id", "status"),
    )
    ensure_table(
        "Bouncer_Second_Chances",
        sa.Column("queue_id", sa.ForeignKey("Bouncer_Queue.queue_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("chances", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("try_again_ts", sa.TIMESTAMP),
        sa.Index("idx_try_again", "try_again_ts"),
    )
    ensure_table("Bouncer_Locks", sa.Column("name", sa.String(20), primary_key=True))
    ensure_table("Bouncer_Database", sa.Column("id", sa.String(32), primary_key=True))
    _name_the_database()
    ensure_table(
        "Bouncer_Reverifications",
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("request_id", sa.Integer),
        sa.Column("contacts", sa.Integer, nullable=False, server_default=_zero),
    )
    ensure_table(
        "Bouncer_Rate_Limit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("request_count", sa.Integer, nullable=False, server_default=_zero),
        # With explicit_defaults_for_timestamp off, a server renews the first moment of a table that has no default at
        # every update: each request that is counted would move the window.
        sa.Column("window_start_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        sa.Column("window_end_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        # Beyond the plan:
        sa.Column("account", sa.String(50), nullable=False, server_default="default"),
        sa.Index("idx_window", "window_start_ts", "window_end_ts"),
        sa.UniqueConstraint("account", "window_start_ts", name="uq_account_window"),
        before_unique=_set_old_windows_apart,
    )
    ensure_table(
        "Bouncer_Results",
        sa.Column("batch_id", sa.ForeignKey("Bouncer_Batches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("global_id", sa.ForeignKey("Contacts_Global.global_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("bouncer_status", sa.String(50), nullable=False),
        sa.Column("bouncer_reason", sa.String(100)),
        sa.Column("domain_info", sa.JSON),
        sa.Column("account_info", sa.JSON),
        sa.Column("dns_info", sa.JSON),
        sa.Column("provider", sa.String(100)),
        sa.Column("score", sa.Integer),
        sa.Column("toxic", sa.String(20)),
        sa.Column("toxicity", sa.Integer),
        sa.Column("processed_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        # Beyond the plan:
        sa.Column("retry_after_ts", sa.TIMESTAMP),
        sa.Column("did_you_mean", sa.String(320)),
    )
    ensure_table(
        "Bouncer_Dead_Letter_Queue",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("batch_id", sa.Integer, nullable=False),
        sa.Column("user_id", sa.ForeignKey("Users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("request_id", sa.ForeignKey("Requests.request_id", ondelete="CASCADE"), nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("failed_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        sa.Column("reviewed", sa.Boolean, server_default=sa.false()),
        sa.Index("idx_failed_ts", "failed_ts"),
        sa.Index("idx_reviewed", "reviewed"),
    )
    ensure_table(
        "Bouncer_Health_Metrics",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("metric_name", sa.String(100), nullable=False),
        sa.Column("metric_value", sa.Integer, nullable=False),
        sa.Column("recorded_ts", sa.TIMESTAMP, nullable=False, server_default=_now),
        sa.Index("idx_metric_time", "metric_name", "recorded_ts"),
    )
    ensure_table(
        "Bouncer_Calls",
        sa.Column("window_start_ts", sa.TIMESTAMP, primary_key=True, server_default=_now),
        sa.Column("account", sa.String(50), primary_key=True),
        sa.Column("call", sa.String(20), primary_key=True),
        sa.Column("outcome", sa.String(50), primary_key=True),
        sa.Column("up_to_ms", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("slowest_ms", sa.Integer, nullable=False, server_default=_zero),
    )
    ensure_table(
        "Bouncer_Alerts",
        sa.Column("account", sa.String(50), primary_key=True),
        sa.Column("alert", sa.String(50), primary_key=True),
        sa.Column("began_ts", sa.TIMESTAMP),
        sa.Column("ended_ts", sa.TIMESTAMP),
        sa.Column("crossed_ts", sa.TIMESTAMP),
        sa.Column("message", sa.String(255)),
        sa.Column("began_told", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("ended_told", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    ensure_table(
        "Bouncer_Accounts",
        sa.Column("account", sa.String(50), primary_key=True),
        sa.Column("paused_ts", sa.TIMESTAMP),
        sa.Column("paused_by", sa.String(100)),
        sa.Column("paused_reason", sa.String(255)),
        sa.Column("breaker_state", sa.String(10), nullable=False, server_default="closed"),
        sa.Column("breaker_failures", sa.Integer, nullable=False, server_default=_zero),
        sa.Column("breaker_changed_ts", sa.TIMESTAMP),
        sa.Column("breaker_probe", sa.String(100)),
        sa.Column("credits", sa.Integer),
        sa.Column("credits_ts", sa.TIMESTAMP),
        sa.Column("upload_history", sa.String(32)),
        sa.Column("uploads", sa.Integer, nullable=False, server_default=_zero),
    )


def _name_the_database() -> None:
    # Here and not when it is first asked for: every backup has to have it.
    database = sa.table("Bouncer_Database", sa.column("id"))
    if op.get_bind().scalar(sa.select(database.c.id)) is None:
        op.execute(database.insert().values(id=uuid4().hex))


def _layer() -> sa.Enum:
    return sa.Enum("basic", "deep")


def downgrade() -> None:
    """Refused.

    Raises:
        SettingRefused: Always.
    """
    raise SettingRefused("The tables are not taken away again, which would lose data; restore a backup instead")


def _set_old_windows_apart() -> None:
    # The plan's own limiter wrote one row a request, so that many share a second. They belong to none of our accounts.
    windows = sa.table("Bouncer_Rate_Limit", sa.column("id"), sa.column("account"))
    op.execute(windows.update().values(account=sa.literal("before-") + sa.cast(windows.c.id, sa.String(20))))
