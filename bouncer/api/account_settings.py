"""The settings of an account, once for the environment and for the block: names, defaults, bounds, words."""

from typing import Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

from bouncer.api.base_url import DEFAULT_BASE_URL, with_version

__all__ = ["LARGEST_BATCH", "AccountSettings"]

LARGEST_BATCH = 100_000
"""Addresses that one batch may have at most."""


class AccountSettings(BaseModel):
    """The pace and the amount that may be sent with an account, in the order of the block's form."""

    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="The API key of your Bouncer account, from app.usebouncer.com; sent as x-api-key.",
    )
    base_url: str = Field(
        default=DEFAULT_BASE_URL,
        title="Base URL",
        pattern=r"^https?://\S+$",
        description="Where the batch API answers; /v1.1 at its end.",
    )
    max_concurrent_batches: int = Field(
        default=15, ge=1, le=1000, title="Batches in flight", description="The most batches at Bouncer at one time."
    )
    batch_size: int = Field(
        default=10_000, ge=1, le=LARGEST_BATCH, title="Batch size", description="The most addresses in one batch."
    )
    rate_limit_per_minute: int = Field(
        default=200,
        ge=2,
        le=100_000,
        title="Requests a minute",
        description="The most requests in any 60 seconds; the token bucket is set so that they are never passed.",
    )
    poll_seconds_min: float = Field(
        default=10, gt=0, title="Shortest poll interval", description="Seconds between two status requests, at least."
    )
    poll_seconds_max: float = Field(
        default=30,
        gt=0,
        title="Longest poll interval",
        description="Seconds between two status requests near the end of a batch, at most.",
    )
    batch_deadline_seconds: float = Field(
        default=7200,
        gt=0,
        title="Deadline",
        description="Seconds without any progress after which a batch is finished early and its rest requeued.",
    )
    result_max_age_days: float = Field(
        default=90,
        ge=0,
        title="Verdicts stay good for",
        description="Days for which a known verdict is used again at no cost; 30 at most for risky ones. 0: never.",
    )
    ambiguous_upload: Literal["resubmit", "hold"] = Field(
        default="resubmit",
        title="When the answer to an upload is lost",
        description="resubmit: send the batch again, which may be paid twice. hold: wait for a person.",
    )
    second_chances: int = Field(
        default=2,
        ge=0,
        le=10,
        title="Second chances",
        description="How often a contact without a clear verdict is retried, by itself; 0: never.",
    )
    second_chance_hours: float = Field(
        default=24,
        gt=0,
        le=8760,
        title="Time to a second chance",
        description="Hours after which a contact is retried, where Bouncer names no time.",
    )
    max_credits_per_run: int = Field(
        default=0,
        ge=0,
        title="Credits for each run",
        description=(
            "The most credits that a run of ingest or dispatch may commit; 0 for any number. The rest stays queued."
        ),
    )
    realtime_max_addresses: int = Field(
        default=0,
        ge=0,
        le=1000,
        title="Real time",
        description="Requests this small skip batching: one API call per address. 0: never.",
    )
    delete_at_bouncer: Literal["never", "after_load"] = Field(
        default="never",
        title="Delete at Bouncer",
        description="after_load: Bouncer is asked to delete the addresses and results of each batch once it is loaded.",
    )
    realtime_timeout_seconds: int = Field(
        default=10,
        ge=1,
        le=30,
        title="Time for an address in real time",
        description="Seconds that Bouncer takes at most; a longer time leaves fewer addresses unknown.",
    )
    realtime_per_hour: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        title="Real time, an hour",
        description="The most addresses in real time in any hour; a request beyond it goes as a batch.",
    )
    queue_ahead_minutes: float = Field(
        default=15,
        ge=0,
        title="Queue ahead",
        description="Minutes that a new upload may have to wait in Bouncer's queue behind this account's own batches: "
        "more are not sent ahead of need, so that urgent contacts wait no longer. 0: all slots are always filled.",
    )
    callback_url: str | None = Field(
        default=None,
        title="Callback URL",
        pattern=r"^https?://\S+$",
        description="Where Bouncer can reach the receiver of callbacks from outside; empty for none, as off is in the "
        "environment.",
    )
    callback_wait_seconds: float = Field(
        default=7200,
        ge=0,
        title="Wait for a lost upload's callback",
        description="The most seconds that a lost upload waits for its callback, before it is sent again or held.",
    )

    @field_validator("base_url")
    @classmethod
    def _has_a_version(cls, url: str) -> str:
        return with_version(url)
