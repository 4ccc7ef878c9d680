"""Behaviour of the sandbox: its keys, its speed, its limits and the untidiness of its answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

__all__ = ["SandboxSettings"]

_Share = Annotated[float, Field(ge=0, le=1)]


class SandboxSettings(BaseModel):
    """Behaviour of the sandbox; the limits that Bouncer documents are the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    keys: dict[str, NonNegativeInt] = {"sandbox-key": 1_000_000_000}
    """API keys and the credits of each."""

    deep_keys: dict[str, NonNegativeInt] = {"sandbox-deep-key": 1_000_000_000}
    """API keys of accounts that verify deeply, and the credits of each."""

    seed: NonNegativeInt = 0
    """Decides verdicts, the order of results and which faults fire."""

    seconds_per_batch: NonNegativeFloat = 2.0
    """Seconds that every batch takes, however small."""

    addresses_per_second: PositiveFloat = 2000.0
    """Addresses of one batch of mixed domains that are verified in a second."""

    homogeneous_slowdown: Annotated[float, Field(ge=1)] = 4.0
    """Factor by which the addresses of a batch of a single domain take longer."""

    fixed_seconds: NonNegativeFloat | None = None
    """Every batch takes this long once it runs, whatever is in it."""

    parallel: PositiveInt = 1
    """Number of batches of an account that run side by side; the others are queued, in the order of their creation."""

    finish_seconds: NonNegativeFloat = 0.5
    """Seconds for which a finished batch still reads processing."""

    finish_refusal: Literal[200, 400] = 200
    """HTTP status of the answer to a finish of a batch that does not run; its body says 400 either way."""

    requests_per_minute: PositiveInt = 200
    """Calls of a key in any 60 seconds, GET /credits left out."""

    uploads_per_minute: PositiveInt = 60
    """Uploads of a key in any 60 seconds."""

    realtime_per_minute: PositiveInt = 1000
    """Verifications of single addresses of a key in any 60 seconds; they count against no other limit."""

    realtime_per_hour: PositiveInt = 60_000
    """Verifications of single addresses of a key in any hour."""

    credit_calls_per_minute: PositiveInt = 10
    """Calls of GET /credits of a key in any 60 seconds."""

    max_batches: PositiveInt = 15
    """Batches of a key in flight; the ledger counts those beyond it."""

    reject_over_limit: bool = False
    """Answer 429 to a batch beyond max_batches."""

    max_batch_size: PositiveInt = 100_000
    """Addresses in one upload."""

    send_retry_after: bool = True
    """Say in a 429 when to come again."""

    callback_shape: Literal["summary", "nested", "form", "empty"] = "summary"
    """Body of a callback: the batch as in its status, its id deep in JSON or in a form, or nothing."""

    callback_delay_seconds: NonNegativeFloat = 0.0
    """Seconds from a batch's completion to its callback, and from that to each further one."""

    callback_repeats: NonNegativeInt = 0
    """Number of times that a callback is repeated."""

    callback_loss: _Share = 0.0
    """Share of callbacks that never come."""

    missing_results: _Share = 0.0
    """Share of addresses that a download leaves out; they are not charged."""

    unmatched_results: _Share = 0.0
    """Results for addresses that were never sent, as a share of the batch."""

    odd_statuses: _Share = 0.0
    """Share of results whose status and reason are in no documentation."""
