"""Aims a history at one way of a batch and what goes wrong on it.

By chance alone most pairs of the two are never met, however many histories are played.
"""

import random
from dataclasses import replace

from tests.simulation.faults import COMMIT
from tests.simulation.judge.diagram import EDGES, GONE
from tests.simulation.plan import Aim, Deed, Plan
from tests.simulation.service.verdicts import MALFORMED

__all__ = ["aimed"]

_QUIET_AFTER = 150.0
"""Seconds: the end of a batch that is lost comes late."""

_WAYS = tuple(sorted(EDGES))
_FATES = tuple(COMMIT)

_HARSH_TO_UPLOADS = {"upload": 0.8, "request": 0.05, "real time": 0.6}
_WORLDS: dict[str, dict[str, object]] = {
    "held": {"ambiguous_upload": "hold", "rates": _HARSH_TO_UPLOADS},
    "to be sent again": {"ambiguous_upload": "resubmit", "rates": _HARSH_TO_UPLOADS},
    "in real time": {"realtime": 3},
    "running at Bouncer": {"seconds_an_address": 5.0, "poll_seconds_max": 4.0},
    "failed": {"vanishing": 0.8, "removed": 0.8},
}
"""Changes of a plan that aims at a way, by each of the two states."""

_LEADING = {
    # Whoever is paused does not repeat the upload before Bouncer calls.
    ("to be sent again", "queued at Bouncer"): ("pause",),
    ("held", "to be sent again"): ("requeue held",),
    ("held", "in real time"): ("requeue held",),
}
_ABANDONED = (
    Deed(0.0, "power cut", when="uploading", patience=_QUIET_AFTER),
    Deed(0.1, "pause"),
    Deed(0.2, "delete all contacts"),
    Deed(3_900.0, "housekeeping"),
)
_TAKEN_BACK = (
    Deed(0.0, "backup", share=0.3, when="ready", patience=_QUIET_AFTER),
    Deed(0.1, "restore", share=0.3, when="queued at Bouncer", patience=_QUIET_AFTER),
)
_WHOLE_STORIES = {("uploading", "failed"): _ABANDONED, ("ready", "queued at Bouncer"): _TAKEN_BACK}
"""All that people do, where little else leads a batch that way."""

_LEADING_TO = {"failed": ("cancel", "delete a contact"), GONE: ("cancel", "pause"), "completed": ("delete a contact",)}
"""Deeds of people that let a batch go a way, by the way, or by where it leads to."""


def aimed(plan: Plan) -> Plan:
    """Gives a plan an aim, and a world in which batches go that way."""
    chance = random.Random(f"aim {plan.seed}")
    edge = chance.choice(_WAYS)
    with_aim = replace(
        plan,
        aim=Aim(edge, chance.choice(_FATES)),
        most_faults=max(3, plan.most_faults),
        quiet_after=_QUIET_AFTER,
        cap=None,
    )
    # The first state last: what does not lead there leads nowhere.
    for state in reversed(edge):
        with_aim = replace(with_aim, **_WORLDS.get(state, {}))  # type: ignore[arg-type]  # of the fields' types by the table
    if edge[1] == "queued at Bouncer" and edge[0] != "uploading":
        with_aim = replace(with_aim, callbacks=True)
    if edge in _WHOLE_STORIES:
        if edge[1] == "failed":
            # Before that, nobody puts right what is paused.
            with_aim = replace(with_aim, accounts=1, realtime=0, quiet_after=4_000.0)
        story = tuple(replace(deed, share=round(chance.random(), 4)) for deed in _WHOLE_STORIES[edge])
        return replace(with_aim, deeds=(with_aim.deeds[0], *story))
    first, *rest = with_aim.deeds
    when = edge[0]
    if edge == ("ready", "failed"):
        # What Bouncer refuses may be gone before the batch is parted.
        first, when = replace(first, addresses=(*first.addresses[:1], f"{MALFORMED}1@acme.com")), "uploading"
    elif edge[1] == "failed" and chance.random() < 0.5:
        first = replace(first, addresses=(*first.addresses[:3], f"{MALFORMED}1@acme.com"))
    if edge == ("to be sent again", "failed"):
        # Bouncer is still busy with what was lost, and somebody else waits for the one place.
        with_aim = replace(with_aim, most_in_flight=1, seconds_an_address=10.0)
        rest.insert(0, Deed(0.0, "import", ("d300@acme.com", "d301@beta.org"), share=0.5))
    if edge == ("ready", "completed"):
        # In real time, with nothing that Bouncer takes.
        first = replace(first, addresses=tuple(f"{MALFORMED}{number}@acme.com" for number in range(3)))
        with_aim = replace(with_aim, realtime=3)
    leading = _LEADING.get(edge, _LEADING_TO.get(edge[1], ()))
    if leading:
        share = round(chance.random(), 4)
        rest.insert(0, Deed(0.0, chance.choice(leading), share=share, when=when, patience=_QUIET_AFTER))
    return replace(with_aim, deeds=(first, *rest))
