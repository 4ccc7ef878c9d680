"""Rates at which Bouncer charged addresses before, and the charge that they predict for the next ones.

Unknown verdicts are free. An address whose last verdict was unknown mostly stays unknown, so those have a rate of their
own: in a list that was sent before, they are many of the few that are sent again.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from bouncer.batches.state import BatchState, is_in
from bouncer.storage.tables import Batch

__all__ = ["ChargeRates", "charge_rates"]

_RECENT_BATCHES = 100


@dataclass(frozen=True)
class ChargeRates:
    """Share of addresses that Bouncer charges, from 0 to 1; None where no batch tells.

    Attributes:
        others: Of those that have no verdict yet, or one that told something.
        unknown_before: Of those whose last verdict was unknown.
    """

    others: float | None = None
    unknown_before: float | None = None

    def expected(self, addresses: int, unknown_before: int) -> float:
        """Predicts the credits that addresses will cost.

        Before anything is known, all are expected to be charged, but for those that were unknown the last time.

        Args:
            addresses: All of them.
            unknown_before: Those of them whose last verdict was unknown.
        """
        others = 1.0 if self.others is None else self.others
        return (addresses - unknown_before) * others + unknown_before * (self.unknown_before or 0.0)


def charge_rates(connection: Connection, account: str) -> ChargeRates:
    """The rates at which an account was charged for its recent batches."""
    recent = (
        select(
            Batch.credits,
            (Batch.quantity - Batch.missing).label("verified"),
            Batch.unknown_before,
            Batch.unknown_resolved,
        )
        .where(Batch.account == account, is_in(BatchState.COMPLETED), Batch.credits.is_not(None))
        .order_by(Batch.id.desc())
        .limit(_RECENT_BATCHES)
        .subquery()
    )
    sums = connection.execute(
        select(*(func.coalesce(func.sum(column), 0) for column in recent.c)),
    ).one()
    charged, verified, unknown, resolved = map(int, sums)
    return ChargeRates(_share(charged - resolved, verified - unknown), _share(resolved, unknown))


def _share(charged: int, addresses: int) -> float | None:
    return max(0.0, min(1.0, charged / addresses)) if addresses > 0 else None
