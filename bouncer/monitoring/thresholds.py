"""The thresholds beyond which people are alerted; the first five are the plan's."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Thresholds"]


class Thresholds(BaseModel):
    """Beyond what figures people are alerted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backlog_contacts: int = Field(
        default=100_000, ge=0, title="Backlog", description="Alert when more contacts than this wait in the queue."
    )
    error_rate_percent: float = Field(
        default=5,
        ge=0,
        le=100,
        title="Error rate, %",
        description="Alert when more of 100 calls to Bouncer than this bring an error.",
    )
    rate_limit_percent: float = Field(
        default=90,
        ge=0,
        le=1000,
        title="Rate-limit use, %",
        description="Alert when a minute's requests are more than this share of what the rate limit lets pass.",
    )
    response_seconds: float = Field(
        default=5,
        gt=0,
        le=600,
        title="Response time, s",
        description="Alert when 5 of 100 calls to Bouncer take longer than this.",
    )
    worker_failures_an_hour: int = Field(
        default=10,
        ge=0,
        title="Worker failures an hour",
        description="Alert when more runs than this have failed or crashed within an hour.",
    )
    oldest_waiting_hours: float = Field(
        default=24,
        gt=0,
        title="Oldest waiting contact, h",
        description="Alert when a contact has waited longer than this, in the queue or in a batch that is not sent.",
    )
    queued_at_bouncer_hours: float = Field(
        default=2,
        gt=0,
        title="Queued at Bouncer, h",
        description="Alert when a batch has been queued at Bouncer for longer than this without its turn coming.",
    )
    paused_minutes: float = Field(
        default=60, ge=0, title="Paused, min", description="Alert when uploads are paused for longer than this."
    )
    window_minutes: int = Field(
        default=5,
        ge=1,
        le=1440,
        title="Window, min",
        description="Error rate and response time are taken over the last so many minutes.",
    )
    min_calls: int = Field(
        default=20,
        ge=1,
        title="Fewest calls",
        description="Error rate and response time say something from so many calls in the window on.",
    )
    calm_minutes: float = Field(
        default=3,
        ge=0,
        le=1440,
        title="Calm, min",
        description="An alert ends when its figure has been on the right side for so long; 0 for at once.",
    )
