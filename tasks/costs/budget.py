"""Budget of one run of ingest: the credits that it may commit, over all its accounts."""

from collections.abc import Iterable, Sequence

from prefect import get_run_logger

from blocks.access import Access
from bouncer.batches import endings
from bouncer.batches.state import AWAITS_UPLOAD, BatchTitle
from bouncer.credits.caps import Spending
from bouncer.plurals import counted

__all__ = ["Budget"]


class Budget:
    """The cap of a run, and the batches that it has made.

    Args:
        most: Credits at most, or None for any number.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._batches: set[int] = set()

    @classmethod
    def of(cls, accounts: Sequence[Access], max_credits: int | None) -> "Budget":
        """The budget that the run was given, or the least that any of its account blocks sets; 0 is no cap."""
        if max_credits is not None:
            return cls(max_credits or None)
        set_by_blocks = [cap for access in accounts if (cap := access.account.max_credits_per_run)]
        return cls(min(set_by_blocks, default=None))

    @property
    def is_capped(self) -> bool:
        """True if the run has a cap."""
        return self._most is not None

    @property
    def spending(self) -> Spending:
        """Limits that a claim must keep to."""
        return Spending(self._most, frozenset(self._batches) if self.is_capped else frozenset())

    def note(self, batches: Iterable[BatchTitle]) -> None:
        """Notes batches that the run has made."""
        self._batches.update(batch.id for batch in batches)

    def may_send(self, batch: BatchTitle) -> bool:
        """Tells whether the run may go on with a batch: under a cap, only with its own and with those that are paid."""
        return not self.is_capped or batch.state not in AWAITS_UPLOAD or batch.id in self._batches

    async def take_back_unsent(self, accounts: Sequence[Access]) -> None:
        """Under a cap, puts contacts of batches that earlier runs made and never sent back into the queue.

        There the cap is asked before they are sent. Safe to run twice: a batch that Bouncer may have is left alone.
        """
        if not self.is_capped:
            return
        for access in accounts:
            contacts = await endings.return_unsent(access, access.name)
            if contacts:
                get_run_logger().info("%s of batches that were never sent requeued", counted(contacts, "contact"))
