"""The story of a history, in some twenty lines that a person can read."""

from tests.simulation.history import Outcome
from tests.simulation.plan import Plan
from tests.simulation.shrinking import Less

__all__ = ["story"]

_LINES = 24
_DULL = ("GET credits", "announces", "could not look")


def story(plan: Plan, less: Less, outcome: Outcome) -> list[str]:
    """Tells what happened, the dull parts left out, and how to see it again.

    Args:
        plan: The plan of the seed.
        less: What of it was played.
        outcome: What came of it.
    """
    world = less.applied(plan)
    side = "side by side" if world.in_parallel else "one after another"
    head = (
        f"{world.workers} workers, {world.accounts} accounts, batches of {world.batch_size}, {world.most_in_flight} in"
        f" flight; Bouncer runs them {side}, {world.seconds_an_address:g} s an address; lost uploads:"
        f" {world.ambiguous_upload}"
    )
    told = [
        f"{at:9.1f} s  {who}: {what if len(what) < 160 else what[:157] + '…'}"
        for at, who, what in outcome.trace
        if not what.startswith(_DULL) or ":" in what.removeprefix("GET credits")
    ]
    if len(told) > _LINES:
        told = [*told[:4], f"{'':11}  … {len(told) - _LINES} more …", *told[4 - _LINES :]]
    again = f"make simulate SEED={plan.seed} HISTORIES=1 LESS='{less}'"
    return [head, *told, f"to see it again: {again}"]
