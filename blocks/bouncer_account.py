"""The block that holds a Bouncer account: its key, and how fast and how much may be sent with it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar, Literal

import httpx
from prefect import get_client as get_prefect_client
from prefect.blocks.core import Block
from prefect.exceptions import PrefectException
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator
from sqlalchemy import Engine

from blocks.limiter import PrefectLimiter
from blocks.limits import limit_name
from blocks.saved import load_saved
from bouncer.api.base_url import refuse_to_send_in_the_clear, with_version
from bouncer.api.client import BouncerClient
from bouncer.api.request_gate import SharedGate
from bouncer.batches.capacity import Places
from bouncer.errors import SettingRefused
from bouncer.installation import DEFAULT_NAME, here
from bouncer.storage.tables import Layer
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances

__all__ = ["BouncerAccount"]


class BouncerAccount(Block):
    """An account at Bouncer: the API key, and how fast and how much may be sent with it.

    Example:
        Load a saved account:

        ```python
        from blocks.bouncer_account import BouncerAccount

        account = BouncerAccount.load("BLOCK_NAME")
        ```
    """

    # Pydantic's errors quote what was given, and the key is a part of it.
    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    _block_type_name = "Bouncer Account"
    _block_type_slug = "bouncer-account"
    _description = "An account at Bouncer (usebouncer.com): the API key, and how fast and how much may be sent with it."
    _documentation_url = HttpUrl("https://docs.usebouncer.com")
    # Prefect's own picture for e-mail, square as the UI wants it, from where the UI takes those of all blocks.
    _logo_url = HttpUrl(
        "https://cdn.sanity.io/images/3ugk85nk/production/82bc6ed16ca42a2252a5512c72233a253b8a58eb-250x250.png"
    )

    api_key: SecretStr = Field(title="API key", description="From app.usebouncer.com; sent as x-api-key.")
    base_url: str = Field(
        default="https://api.usebouncer.com/v1.1",
        title="Base URL",
        pattern=r"^https?://\S+$",
        description="Where the batch API answers; the sandbox's address for tests.",
    )
    max_concurrent_batches: int = Field(
        default=15, ge=1, le=1000, title="Batches in flight", description="The most batches at Bouncer at one time."
    )
    batch_size: int = Field(
        default=10_000, ge=1, le=100_000, title="Batch size", description="The most addresses in one batch."
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
    layer: Layer = Field(
        default=Layer.BASIC,
        title="Layer",
        description="basic: contacts as they come. deep: those that the first pass left risky, for an account or key "
        "that has deep catch-all verification switched on at Bouncer.",
    )
    installation: str = Field(
        default=DEFAULT_NAME,
        title="Installation",
        description="The installation that pays with it, as BOUNCER_FLOWS_NAME has it; others leave it alone.",
    )
    max_credits_per_run: int = Field(
        default=0,
        ge=0,
        title="Credits for each run",
        description="The most credits that one run of ingest may commit; 0 for any number. The rest stays queued.",
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
        description="Where Bouncer can reach the receiver of callbacks from outside; empty for none.",
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

    @model_validator(mode="after")
    def _polls_in_order(self) -> "BouncerAccount":
        if self.poll_seconds_max < self.poll_seconds_min:
            raise ValueError("POLL_SECONDS_MAX must not be less than POLL_SECONDS_MIN")
        return self

    @model_validator(mode="after")
    def _key_stays_secret(self) -> "BouncerAccount":
        try:
            refuse_to_send_in_the_clear(self.base_url, self.api_key.get_secret_value().strip())
        except SettingRefused as refusal:
            # What pydantic makes a ValidationError of.
            raise ValueError(str(refusal)) from None
        return self

    @property
    def queue_ahead_seconds(self) -> float:
        """The longest that a new upload may have to wait in Bouncer's own queue; 0 for as long as it takes."""
        return 60 * self.queue_ahead_minutes

    @property
    def places(self) -> Places:
        """The places that the account has at Bouncer."""
        return Places(self.max_concurrent_batches, self.queue_ahead_seconds, self.batch_size)

    @property
    def fresh_for(self) -> FreshFor:
        """For how long known verdicts are used again."""
        return FreshFor(days=self.result_max_age_days)

    @property
    def chances(self) -> Chances:
        """Number and times of the second chances of contacts without a clear verdict."""
        return Chances(self.second_chances, self.second_chance_hours)

    def get_gate(self, engine: Engine, *, name: str = "default", caller: str) -> SharedGate:
        """Opens the gate that every request with this account passes: circuit breaker, shared limits, count.

        Args:
            engine: Of the contacts database, where requests are counted and the circuit breaker lives.
            name: The account, whose limits they are.
            caller: A name for this caller, unique over all workers.
        """
        limits = (limit_name(what, name) for what in ("api", "uploads", "realtime"))
        return SharedGate(engine, name, PrefectLimiter(*limits), caller, realtime_per_hour=self.realtime_per_hour)

    @asynccontextmanager
    async def get_client(
        self, engine: Engine, *, name: str = "default", caller: str, saved_key: bool = True
    ) -> AsyncIterator[BouncerClient]:
        """Opens a client whose every request passes the shared limits.

        Args:
            engine: Of the contacts database, where requests are counted and the circuit breaker lives.
            name: The account; its block is saved under ``Installation.account_block`` of it.
            caller: A name for this caller, unique over all workers.
            saved_key: Read the key from the saved block for each request, so that a rotated key is used at once; else
                the key is this block's, which need not be saved.

        Yields:
            The client, closed afterwards.
        """
        gate = self.get_gate(engine, name=name, caller=caller)
        async with AsyncExitStack() as opened:
            # One for all requests: to make one costs more than the rest of a request.
            server = await opened.enter_async_context(get_prefect_client()) if saved_key else None

            async def present_key() -> str:
                try:
                    saved = await load_saved(BouncerAccount, here().account_block(name), server) if server else None
                except (PrefectException, httpx.HTTPError, ValueError, SettingRefused):
                    # The Prefect server is away, or the block was saved as it cannot be used: the last key that was
                    # seen is the best there is.
                    saved = None
                return (saved or self).api_key.get_secret_value()

            yield await opened.enter_async_context(
                BouncerClient(self.base_url, present_key, gate, realtime_seconds=self.realtime_timeout_seconds)
            )
