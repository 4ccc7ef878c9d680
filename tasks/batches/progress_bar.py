"""The progress artifact of a batch: a bar in the UI that moves by steps that a person sees, not with every poll."""

from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from bouncer.installation import here
from bouncer.plurals import counted

__all__ = ["ProgressBar", "is_worth_showing"]

_LEAP = 5
_MINUTE = 60.0


def is_worth_showing(shown: int, now: int, seconds: float) -> bool:
    """Tells whether a bar should move: at a leap at once, else once a minute, and never within the same whole percent.

    An hour-long batch is asked for 120 times, and a batch of half a day 1,400 times; each update is a request to the
    Prefect server.

    Args:
        shown: The whole percent that it shows.
        now: The whole percent that is reached.
        seconds: Since it last moved.
    """
    return now > shown and (now >= shown + _LEAP or seconds >= _MINUTE)


class ProgressBar:
    """The bar of one batch.

    Args:
        artifact: Of the Prefect server.
        percent: What it shows.
        seconds: The moment at which it began to show that.
    """

    def __init__(self, artifact: UUID, percent: int, seconds: float) -> None:
        self._artifact = artifact
        self._shown = percent
        self._since = seconds

    @classmethod
    async def begin(cls, batch: int, quantity: int, percent: int, seconds: float) -> "ProgressBar":
        """Makes the bar of a batch.

        Args:
            batch: The batch's row.
            quantity: Its addresses.
            percent: How many in a hundred are verified.
            seconds: The present moment.
        """
        description = f"Batch {batch}: {counted(quantity, 'address', 'addresses')} at Bouncer"
        artifact = await acreate_progress_artifact(
            percent, key=here().artifact(f"batch-{batch}"), description=description
        )
        return cls(artifact, percent, seconds)

    async def move(self, percent: int, seconds: float) -> None:
        """Moves it where that is worth a request."""
        if is_worth_showing(self._shown, percent, seconds - self._since):
            await self._show(percent, seconds)

    async def end(self, seconds: float) -> None:
        """Shows that all is done."""
        if self._shown < 100:
            await self._show(100, seconds)

    async def _show(self, percent: int, seconds: float) -> None:
        await aupdate_progress_artifact(self._artifact, percent)
        self._shown, self._since = percent, seconds
