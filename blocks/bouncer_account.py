"""The block that holds a Bouncer account: its key, and how fast and how much may be sent with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import httpx
from prefect import get_client as get_prefect_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectException
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator
from sqlalchemy import Engine

from blocks.limiter import PrefectLimiter
from blocks.limits import Limit, limits_of
from blocks.pictures import picture
from blocks.saved_blocks import load_saved
from bouncer.api.account_settings import AccountSettings
from bouncer.api.base_url import refuse_to_send_in_the_clear
from bouncer.api.client import BouncerClient
from bouncer.api.request_gate import SharedGate
from bouncer.batches.batches_in_flight import Places
from bouncer.errors import SettingRefused
from bouncer.installation import DEFAULT_NAME, here
from bouncer.storage.tables import Layer
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances

__all__ = ["BouncerAccount"]


class BouncerAccount(Block, AccountSettings):
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
    # Prefect's picture for e-mail.
    _logo_url = picture("82bc6ed16ca42a2252a5512c72233a253b8a58eb-250x250.png")

    api_key: SecretStr = Field(title="API key", description=AccountSettings.model_fields["api_key"].description)
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

    def limits(self, name: str) -> tuple[Limit, ...]:
        """The global concurrency limits that it needs as the account of that name."""
        return limits_of(name, batches=self.max_concurrent_batches, requests_per_minute=self.rate_limit_per_minute)

    def get_gate(self, engine: Engine, server: PrefectClient, *, name: str = "default", caller: str) -> SharedGate:
        """Opens the gate that every request with this account passes: circuit breaker, shared limits, count.

        Args:
            engine: Of the contacts database, where requests are counted and the circuit breaker lives.
            server: A client of the Prefect server, which has the limits; open for as long as the gate is used.
            name: The account, whose limits they are.
            caller: A name for this caller, unique over all workers.
        """
        _, *buckets = here().limits(name)
        limiter = PrefectLimiter(server, *buckets)
        return SharedGate(engine, name, limiter, caller, realtime_per_hour=self.realtime_per_hour)

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
        # One for all requests: to make one costs more than the rest of a request.
        async with get_prefect_client() as server:

            async def present_key() -> str:
                try:
                    saved = await load_saved(BouncerAccount, here().account_block(name), server) if saved_key else None
                except (PrefectException, httpx.HTTPError, ValueError, SettingRefused):
                    # The Prefect server is away, or the block was saved as it cannot be used: the last key that was
                    # seen is the best there is.
                    saved = None
                return (saved or self).api_key.get_secret_value()

            gate = self.get_gate(engine, server, name=name, caller=caller)
            async with BouncerClient(
                self.base_url, present_key, gate, realtime_seconds=self.realtime_timeout_seconds
            ) as client:
                yield client
