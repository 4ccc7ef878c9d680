"""The tables: the six of the plan, the application's three that they refer to, and the state of accounts.

Columns of the plan keep its names, types and defaults on MariaDB and MySQL; what was added is listed with its
reason in docs/decisions.md. All times are UTC.
"""

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    TIMESTAMP,
    BigInteger,
    Boolean,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.mysql import BINARY
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "Account",
    "Alert",
    "Base",
    "Batch",
    "BatchStatus",
    "CallCount",
    "Contact",
    "Database",
    "DeadLetter",
    "Deletion",
    "HealthMetric",
    "Layer",
    "List",
    "Lock",
    "Priority",
    "QueueStatus",
    "QueuedContact",
    "RateLimitWindow",
    "Request",
    "Result",
    "Reverification",
    "SecondChance",
    "User",
]

_PLAN = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb3", "mysql_collate": "utf8mb3_unicode_ci"}
_APPLICATION = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_unicode_ci"}
_NOW = text("CURRENT_TIMESTAMP")
_ADDRESS_KEY = LargeBinary(16).with_variant(BINARY(16), "mysql", "mariadb")


class Base(DeclarativeBase):
    """The metadata of all tables."""


class Priority(enum.IntEnum):
    """Priority of a contact; higher goes first. The values are the plan's."""

    LOW = 25
    NORMAL = 50
    HIGH = 75
    CRITICAL = 100


class Layer(enum.StrEnum):
    """Pass to which a verification belongs: the basic one, or the deep one that looks again at risky contacts.

    Bouncer's deep verification is a setting of the account, so each account serves one layer.
    """

    BASIC = "basic"
    DEEP = "deep"


class BatchStatus(enum.StrEnum):
    """The steps of a batch, as the plan names them; only ``bouncer.batches.state`` knows what they mean.

    They are too few for what a batch can be: its state follows from other columns of the row too.
    """

    QUEUED = "queued"
    PROCESSING = "processing"
    DOWNLOADING = "downloading"
    COMPLETED = "completed"
    FAILED = "failed"


class QueueStatus(enum.StrEnum):
    """State of a queued contact."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    COMPLETED = "completed"
    FAILED = "failed"


def _enumeration(values: list[str]) -> Enum:
    return Enum(*values, native_enum=True, create_constraint=False)


def _layer() -> Mapped[str]:
    return mapped_column(_enumeration(list(Layer)), server_default=Layer.BASIC)


class User(Base):
    """Whoever asks for verifications; a table of the application, made here where there is none."""

    __tablename__ = "Users"
    __table_args__ = _APPLICATION

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    email: Mapped[str | None] = mapped_column(String(320))


class Request(Base):
    """A list of contacts that somebody wants verified; a table of the application.

    ``bouncer_counted_ts`` is set from the first claim on, ``bouncer_completed_ts`` while none of its contacts waits or
    is in flight, ``bouncer_announced_ts`` once the event of that was sent (``bouncer.requests.progress``).
    ``bouncer_deep_of`` is the request whose risky contacts this one sends through the deep pass, ``bouncer_counts`` has
    how many of its contacts ended how, while it is at rest (``bouncer.requests.kept_counts``).
    """

    __tablename__ = "Requests"
    __table_args__ = (
        Index("idx_bouncer_open", "bouncer_announced_ts", "bouncer_counted_ts"),
        Index("idx_bouncer_cancelled", "bouncer_cancelled_ts"),
        Index("idx_bouncer_deep_of", "bouncer_deep_of"),
        _APPLICATION,
    )

    request_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("Users.id", ondelete="CASCADE"))
    name: Mapped[str | None] = mapped_column(String(255))
    # Where the application's table lacked the column, it was added without a default.
    created_ts: Mapped[datetime | None] = mapped_column(
        TIMESTAMP, default=func.current_timestamp(), server_default=_NOW
    )
    bouncer_max_credits: Mapped[int | None] = mapped_column(Integer)
    bouncer_queued: Mapped[int | None] = mapped_column(Integer)
    bouncer_in_flight: Mapped[int | None] = mapped_column(Integer)
    bouncer_done: Mapped[int | None] = mapped_column(Integer)
    bouncer_failed: Mapped[int | None] = mapped_column(Integer)
    bouncer_counted_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    bouncer_completed_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    bouncer_announced_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    bouncer_cancelled: Mapped[int | None] = mapped_column(Integer)
    bouncer_cancelled_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    bouncer_cancelled_by: Mapped[str | None] = mapped_column(String(100))
    bouncer_cancelled_reason: Mapped[str | None] = mapped_column(String(255))
    bouncer_deep_of: Mapped[int | None] = mapped_column(Integer)
    bouncer_counts: Mapped[str | None] = mapped_column(Text)


class List(Base):
    """The file that a request was queued from: how far its import has come, and where its result is.

    ``source_digest`` tells the same list, ``imported_ts`` that all of it is queued. ``result`` is written before the
    result is, so that a run that was cut short may replace what an earlier one has made.
    """

    __tablename__ = "Bouncer_Lists"
    __table_args__ = _APPLICATION

    request_id: Mapped[int] = mapped_column(
        ForeignKey("Requests.request_id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    source: Mapped[str] = mapped_column(Text)
    source_digest: Mapped[str] = mapped_column(String(32))
    source_bytes: Mapped[int] = mapped_column(BigInteger)
    column_name: Mapped[str] = mapped_column(String(255))
    column_number: Mapped[int]
    split: Mapped[bool] = mapped_column(Boolean, server_default=false())
    bytes_read: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lines: Mapped[int] = mapped_column(server_default=text("0"))
    addresses: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    imported_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    result: Mapped[str | None] = mapped_column(Text)
    result_lines: Mapped[int] = mapped_column(server_default=text("0"))
    result_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)


class Contact(Base):
    """A contact of the application, with the verdict that counts for its address.

    ``bouncer_address_key`` is the digest of the normalised address (``bouncer.addresses.normalisation``); contacts
    that have not been claimed yet may lack it. ``bouncer_batch_id`` is the batch that the verdict came with,
    ``bouncer_deep_ts`` when the deep pass last looked at the address, whichever of its two verdicts counts.
    """

    __tablename__ = "Contacts_Global"
    __table_args__ = (
        Index("idx_bouncer_address_key", "bouncer_address_key"),
        Index("idx_bouncer_verdict_age", "bouncer_status", "bouncer_verified_ts"),
        _APPLICATION,
    )

    global_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    email: Mapped[str] = mapped_column(String(320))
    bouncer_status: Mapped[str | None] = mapped_column(String(50))
    bouncer_reason: Mapped[str | None] = mapped_column(String(100))
    bouncer_score: Mapped[int | None] = mapped_column(Integer)
    bouncer_verified_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    bouncer_address_key: Mapped[bytes | None] = mapped_column(_ADDRESS_KEY)
    bouncer_batch_id: Mapped[int | None] = mapped_column(Integer)
    bouncer_deep_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)


class Batch(Base):
    """A batch: up to 10,000 contacts of one request that go to Bouncer together, and how far they have come."""

    __tablename__ = "Bouncer_Batches"
    __table_args__ = (
        Index("idx_status", "status"),
        Index("idx_created", "created_ts"),
        Index("idx_account_status", "account", "status"),
        Index("idx_completed", "completed_ts"),
        _PLAN,
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    bouncer_id: Mapped[str | None] = mapped_column("batch_id", String(50), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("Users.id", ondelete="CASCADE"))
    request_id: Mapped[int] = mapped_column(ForeignKey("Requests.request_id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(
        _enumeration(["queued", "processing", "completed", "failed", "downloading"]),
        server_default=BatchStatus.QUEUED,
    )
    quantity: Mapped[int]
    duplicates: Mapped[int] = mapped_column(server_default=text("0"))
    created_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)
    updated_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW, onupdate=func.current_timestamp())
    completed_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    error_message: Mapped[str | None] = mapped_column(Text)
    retry_count: Mapped[int] = mapped_column(server_default=text("0"))

    account: Mapped[str] = mapped_column(String(50), server_default="default")
    priority: Mapped[int] = mapped_column(server_default=text("50"))
    owner: Mapped[str | None] = mapped_column(String(100))
    heartbeat_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    slot_lease: Mapped[str | None] = mapped_column(String(36))
    upload_begun_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    uploaded_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    progress_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    finish_requested_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    verified_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    held_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    split_from: Mapped[int | None] = mapped_column(Integer)
    processed: Mapped[int] = mapped_column(server_default=text("0"))
    credits: Mapped[int | None]
    missing: Mapped[int] = mapped_column(server_default=text("0"))
    unmatched: Mapped[int] = mapped_column(server_default=text("0"))
    ambiguous_uploads: Mapped[int] = mapped_column(server_default=text("0"))
    ambiguous_addresses: Mapped[int] = mapped_column(server_default=text("0"))
    expected_credits: Mapped[int | None]
    realtime: Mapped[bool] = mapped_column(Boolean, server_default=false())
    unanswered: Mapped[int] = mapped_column(server_default=text("0"))
    callback_token: Mapped[str | None] = mapped_column(String(64), unique=True)
    callback_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    callback_ids: Mapped[str | None] = mapped_column(String(255))
    layer: Mapped[str] = _layer()
    unreadable_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    lost_addresses: Mapped[int] = mapped_column(server_default=text("0"))
    unknown_before: Mapped[int] = mapped_column(server_default=text("0"))
    unknown_resolved: Mapped[int] = mapped_column(server_default=text("0"))
    running_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    finish_refused_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    erased: Mapped[int] = mapped_column(server_default=text("0"))


class QueuedContact(Base):
    """A contact of a request that waits for its verdict, or has it, or failed with a reason.

    With ``verdict_after_ts``, only a verdict from after that moment settles it: it was queued to be verified anew.
    """

    __tablename__ = "Bouncer_Queue"
    __table_args__ = (
        Index("idx_status_priority", "status", text("priority DESC")),
        Index("idx_domain_hash", "domain_hash"),
        Index("idx_created", "created_ts"),
        Index("idx_claim", "status", "layer", "priority", "request_id", "queue_id"),
        Index("idx_request_status", "request_id", "status"),
        _PLAN,
    )

    queue_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    global_id: Mapped[int] = mapped_column(ForeignKey("Contacts_Global.global_id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("Users.id", ondelete="CASCADE"))
    request_id: Mapped[int] = mapped_column(ForeignKey("Requests.request_id", ondelete="CASCADE"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("Bouncer_Batches.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(
        _enumeration(["queued", "assigned", "completed", "failed"]), server_default=QueueStatus.QUEUED
    )
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    domain_hash: Mapped[str | None] = mapped_column(String(64))
    created_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)
    assigned_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    completed_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)

    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    reused: Mapped[bool] = mapped_column(Boolean, server_default=false())
    error_message: Mapped[str | None] = mapped_column(Text)
    layer: Mapped[str] = _layer()
    verdict_after_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    cancelled: Mapped[bool] = mapped_column(Boolean, server_default=false())


class SecondChance(Base):
    """A contact without a clear verdict that is retried, by itself, a few times.

    Beside the queue and not in it, for the few contacts concerned, so that claims and loads of all others know nothing
    of it. ``try_again_ts`` is NULL while it is being tried, and once its chances are used up.
    """

    __tablename__ = "Bouncer_Second_Chances"
    __table_args__ = (Index("idx_try_again", "try_again_ts"), _PLAN)

    queue_id: Mapped[int] = mapped_column(ForeignKey("Bouncer_Queue.queue_id", ondelete="CASCADE"), primary_key=True)
    chances: Mapped[int] = mapped_column(server_default=text("0"))
    try_again_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)


class Lock(Base):
    """One row for each critical section; lock it to enter."""

    __tablename__ = "Bouncer_Locks"
    __table_args__ = _PLAN

    name: Mapped[str] = mapped_column(String(20), primary_key=True)


class Database(Base):
    """One row, made with the tables: what tells this database and its backups from all others."""

    __tablename__ = "Bouncer_Database"
    __table_args__ = _PLAN

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


class Reverification(Base):
    """Credits that re-verification has booked of a month's budget; its row is the lock under which it books."""

    __tablename__ = "Bouncer_Reverifications"
    __table_args__ = _PLAN

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    request_id: Mapped[int | None] = mapped_column(Integer)
    contacts: Mapped[int] = mapped_column(server_default=text("0"))


class RateLimitWindow(Base):
    """Requests sent to Bouncer in one minute; one row a minute and account."""

    __tablename__ = "Bouncer_Rate_Limit"
    __table_args__ = (
        Index("idx_window", "window_start_ts", "window_end_ts"),
        UniqueConstraint("account", "window_start_ts", name="uq_account_window"),
        _PLAN,
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    request_count: Mapped[int] = mapped_column(server_default=text("0"))
    window_start_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)
    window_end_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)

    account: Mapped[str] = mapped_column(String(50), server_default="default")


class Result(Base):
    """Bouncer's verdict on one contact, in detail."""

    __tablename__ = "Bouncer_Results"
    __table_args__ = _PLAN

    batch_id: Mapped[int] = mapped_column(ForeignKey("Bouncer_Batches.id", ondelete="CASCADE"), primary_key=True)
    global_id: Mapped[int] = mapped_column(
        ForeignKey("Contacts_Global.global_id", ondelete="CASCADE"), primary_key=True
    )
    bouncer_status: Mapped[str] = mapped_column(String(50))
    bouncer_reason: Mapped[str | None] = mapped_column(String(100))
    domain_info: Mapped[Any | None] = mapped_column(JSON)
    account_info: Mapped[Any | None] = mapped_column(JSON)
    dns_info: Mapped[Any | None] = mapped_column(JSON)
    provider: Mapped[str | None] = mapped_column(String(100))
    score: Mapped[int | None]
    toxic: Mapped[str | None] = mapped_column(String(20))
    toxicity: Mapped[int | None]
    processed_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)

    retry_after_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    did_you_mean: Mapped[str | None] = mapped_column(String(320))


class Deletion(Base):
    """A loaded batch whose addresses and results Bouncer has deleted, or has not had any more."""

    __tablename__ = "Bouncer_Deletions"
    __table_args__ = _PLAN

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("Bouncer_Batches.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    deleted_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)


class DeadLetter(Base):
    """A batch that failed for good, for a person to review."""

    __tablename__ = "Bouncer_Dead_Letter_Queue"
    __table_args__ = (Index("idx_failed_ts", "failed_ts"), Index("idx_reviewed", "reviewed"), _PLAN)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    batch_id: Mapped[int]
    user_id: Mapped[int] = mapped_column(ForeignKey("Users.id", ondelete="CASCADE"))
    request_id: Mapped[int] = mapped_column(ForeignKey("Requests.request_id", ondelete="CASCADE"))
    error_message: Mapped[str] = mapped_column(Text)
    failed_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)
    reviewed: Mapped[bool | None] = mapped_column(Boolean, server_default=false())


class HealthMetric(Base):
    """One figure of the system's health at one moment."""

    __tablename__ = "Bouncer_Health_Metrics"
    __table_args__ = (Index("idx_metric_time", "metric_name", "recorded_ts"), _PLAN)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    metric_name: Mapped[str] = mapped_column(String(100))
    metric_value: Mapped[int]
    recorded_ts: Mapped[datetime] = mapped_column(TIMESTAMP, server_default=_NOW)


class CallCount(Base):
    """Requests to Bouncer of one minute, call, outcome and class of duration; the key serves time first."""

    __tablename__ = "Bouncer_Calls"
    __table_args__ = _PLAN

    window_start_ts: Mapped[datetime] = mapped_column(TIMESTAMP, primary_key=True, server_default=_NOW)
    account: Mapped[str] = mapped_column(String(50), primary_key=True)
    call: Mapped[str] = mapped_column(String(20), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(50), primary_key=True)
    up_to_ms: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(server_default=text("0"))
    slowest_ms: Mapped[int] = mapped_column(server_default=text("0"))


class Alert(Base):
    """A threshold that was crossed: since when, and whether it was reported; one row an account and alert.

    It is in force while ``began_ts`` is set and ``ended_ts`` is not.
    """

    __tablename__ = "Bouncer_Alerts"
    __table_args__ = _PLAN

    account: Mapped[str] = mapped_column(String(50), primary_key=True)
    alert: Mapped[str] = mapped_column(String(50), primary_key=True)
    began_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    ended_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    crossed_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    message: Mapped[str | None] = mapped_column(String(255))
    began_told: Mapped[bool] = mapped_column(Boolean, server_default=false())
    ended_told: Mapped[bool] = mapped_column(Boolean, server_default=false())


class Account(Base):
    """State of one Bouncer account that all workers share: the pause, the circuit breaker, the credits, the uploads.

    Its row is locked where uploads are admitted, so that no two workers count the batches in flight at once.
    """

    __tablename__ = "Bouncer_Accounts"
    __table_args__ = _PLAN

    account: Mapped[str] = mapped_column(String(50), primary_key=True)
    paused_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    paused_by: Mapped[str | None] = mapped_column(String(100))
    paused_reason: Mapped[str | None] = mapped_column(String(255))
    breaker_state: Mapped[str] = mapped_column(String(10), server_default="closed")
    breaker_failures: Mapped[int] = mapped_column(server_default=text("0"))
    breaker_changed_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    breaker_probe: Mapped[str | None] = mapped_column(String(100))
    credits: Mapped[int | None]
    credits_ts: Mapped[datetime | None] = mapped_column(TIMESTAMP)
    upload_history: Mapped[str | None] = mapped_column(String(32))
    uploads: Mapped[int] = mapped_column(server_default=text("0"))
    paused_kind: Mapped[str | None] = mapped_column(String(20))
