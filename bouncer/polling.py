"""When to ask next how far a batch has come: few requests, and the download soon after completion."""

from sqlalchemy import Connection, func, select

from bouncer.dialects import age_seconds
from bouncer.tables import Batch, BatchStatus

__all__ = ["seconds_an_address", "seconds_to_next_poll"]

_RECENT_BATCHES = 20


def seconds_an_address(connection: Connection, account: str) -> float | None:
    """What an address took from upload to completion, on average over the account's recent batches.

    Returns:
        Seconds, or None where nothing was verified yet.
    """
    recent = (
        select(
            (age_seconds(Batch.uploaded_ts) - age_seconds(Batch.verified_ts)).label("seconds"),
            Batch.quantity.label("quantity"),
        )
        .where(
            Batch.account == account,
            Batch.status == BatchStatus.COMPLETED,
            # Batches from the plan's own tables do not tell.
            Batch.uploaded_ts.is_not(None),
            Batch.verified_ts.is_not(None),
            Batch.finish_requested_ts.is_(None),
        )
        .order_by(Batch.id.desc())
        .limit(_RECENT_BATCHES)
        .subquery()
    )
    seconds, quantity = connection.execute(select(func.sum(recent.c.seconds), func.sum(recent.c.quantity))).one()
    return float(seconds) / float(quantity) if quantity else None


def seconds_to_next_poll(
    *,
    elapsed: float,
    processed: int,
    quantity: int,
    expected: float | None,
    shortest: float,
    longest: float,
) -> float:
    """How long to wait before the next status request.

    The present speed predicts completion; before there is any, the speed of earlier batches does. A poll is
    placed just after the predicted end where that is within reach. Where the end is a little beyond the longest
    wait, the way is halved, so that the last wait is not a needlessly long one.

    Args:
        elapsed: Seconds since the upload was answered.
        processed: Addresses verified so far.
        quantity: Addresses in the batch.
        expected: Seconds that earlier batches suggest for the whole, or None.
        shortest: The shortest wait allowed, in seconds.
        longest: The longest wait allowed, in seconds.

    Returns:
        Seconds, from ``shortest`` to ``longest``.
    """
    if processed > 0 and elapsed > 0:
        remaining = elapsed * (quantity - processed) / processed
    elif expected is not None:
        remaining = expected - elapsed
    else:
        return shortest
    after_the_end = remaining * 1.02 + 0.5
    if longest < after_the_end < longest + shortest:
        return max(shortest, after_the_end / 2)
    return min(max(after_the_end, shortest), longest)
