"""The one table of what Bouncer does that the sandbox and the client follow: who says so, and what we do about it.

``docs/reference/bouncer.md`` is made from it, the probe compares an account with it, and a test sees to it that no
behaviour of the sandbox or the client is without a row.
"""

from bouncer.probe.behaviours.batches import BATCHES
from bouncer.probe.behaviours.errors import ERRORS
from bouncer.probe.behaviours.results import RESULTS
from bouncer.probe.behaviours.row import Behaviour, Mark

__all__ = ["BEHAVIOURS", "Behaviour", "Mark", "behaviour_of"]

BEHAVIOURS: tuple[Behaviour, ...] = (*BATCHES, *RESULTS, *ERRORS)
"""All rows, in the order of the page."""

_BY_NAME = {behaviour.name: behaviour for behaviour in BEHAVIOURS}


def behaviour_of(name: str) -> Behaviour:
    """Looks a row up by its name."""
    return _BY_NAME[name]
