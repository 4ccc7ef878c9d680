"""The ports of a batch's steps: all that they need from outside, so that Prefect, or a simulation, can provide it."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec, Protocol, TypeVar

from bouncer.accounts.upload_history import UploadCount
from bouncer.api.client import BouncerClient
from bouncer.batches.load import LoadReport
from bouncer.batches.state import BatchWork
from bouncer.storage.transactions import Transacting
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances

__all__ = ["Access", "Account", "ProgressBar", "Run", "Slot", "Steps", "UploadMarks"]

_Params = ParamSpec("_Params")
_Return = TypeVar("_Return")


class Account(Protocol):
    """The settings of a Bouncer account that a batch's steps go by."""

    max_concurrent_batches: int
    poll_seconds_min: float
    poll_seconds_max: float
    batch_deadline_seconds: float
    callback_url: str | None
    callback_wait_seconds: float

    @property
    def ambiguous_upload(self) -> str:
        """The fate of an upload whose answer was lost: ``resubmit`` or ``hold``."""
        ...

    @property
    def queue_ahead_seconds(self) -> float:
        """The longest that a new upload may have to wait in Bouncer's own queue; 0 for as long as it takes."""
        ...

    @property
    def fresh_for(self) -> FreshFor:
        """For how long known verdicts are used again."""
        ...

    @property
    def chances(self) -> Chances:
        """The number and the time of second chances."""
        ...


class Access(Transacting, Protocol):
    """The account, its client, and the contacts database."""

    @property
    def name(self) -> str:
        """The name of the account."""
        ...

    @property
    def account(self) -> Account:
        """Its settings."""
        ...

    @property
    def client(self) -> BouncerClient:
        """The client of Bouncer, behind the shared limits."""
        ...

    async def compute(self, work: Callable[_Params, _Return], *args: _Params.args, **kwargs: _Params.kwargs) -> _Return:
        """Runs ``work``, which keeps a processor busy, beside the event loop."""
        ...


class UploadMarks(Protocol):
    """The count of uploads, kept outside the contacts database, which may be put back in time."""

    async def read(self, history: str) -> UploadCount:
        """Reads the highest count of a history."""
        ...

    async def write(self, count: UploadCount) -> None:
        """Writes a count down."""
        ...


class ProgressBar(Protocol):
    """Shows people how far a batch has come."""

    async def move(self, percent: int, seconds: float) -> None:
        """Moves the bar where that is worth it."""
        ...

    async def end(self, seconds: float) -> None:
        """Shows that all is done."""
        ...


class Run(Protocol):
    """One run of a batch: where it tells what happens, and where it counts its uploads."""

    @property
    def log(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        """The log of the run."""
        ...

    @property
    def marks(self) -> UploadMarks:
        """The count of uploads outside the database."""
        ...

    def announce(self, what: str, *, account: str, **details: str | float | bool | None) -> None:
        """Emits an event that automations can act on."""
        ...

    async def make_use_of_room(self) -> None:
        """Has more batches sent, since Bouncer has begun with this one, which may tell that it runs several at once."""
        ...

    async def progress_bar(self, batch: int, quantity: int, percent: int, seconds: float) -> ProgressBar:
        """Shows how far a batch has come, from now on."""
        ...


class Slot(Protocol):
    """One of the account's places for a batch in flight, held while the batch is at Bouncer."""

    async def step_aside(self) -> None:
        """Gives the slot back for a moment, and takes one again."""
        ...


class Steps(Protocol):
    """The steps of one batch, as a run does them."""

    async def give_back_stale_lease(self, batch: BatchWork) -> None:
        """Gives the slot back that an earlier owner held when it died."""
        ...

    def slot(self, batch: BatchWork) -> AbstractAsyncContextManager[Slot]:
        """Holds a slot of the account while the batch is in flight."""
        ...

    async def upload(self, batch: BatchWork, slot: Slot) -> str:
        """Uploads the batch, and returns Bouncer's id of it."""
        ...

    async def poll(self, batch: BatchWork, bouncer_id: str) -> None:
        """Waits until Bouncer has completed the batch."""
        ...

    async def load(self, batch: BatchWork, bouncer_id: str) -> LoadReport:
        """Downloads the verdicts, and stores them."""
        ...

    async def verify_now(self, batch: BatchWork) -> int:
        """Asks for each address in real time, and returns how many contacts got a verdict."""
        ...
