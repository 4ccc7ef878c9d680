"""Real time, address by address: what happens to the contacts meanwhile is respected."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine

from bouncer.api.answers import Verdict
from bouncer.erasure.erasing import erase_person
from bouncer.queue import claiming
from bouncer.steps.realtime import AT_ONCE, verify_now
from bouncer.storage.engine import write
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.second_chances import Chances
from tests.bouncer.contacts import ACCOUNT, queue, take, verdicts
from tests.bouncer.steps.access import StepAccess
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.simulation.installation.outages import Outages
from tests.simulation.installation.ports import Marks, Server

_ANN, _BOB = "ann@example.com", "bob@example.com"
_ACCOUNT: Any = SimpleNamespace(
    poll_seconds_min=0.1,
    batch_deadline_seconds=60.0,
    ambiguous_upload="resubmit",
    fresh_for=FreshFor(),
    chances=Chances(most=0),
)


@dataclass
class _Bouncer:
    asked: list[str] = field(default_factory=list)

    async def verify(self, address: str) -> Verdict:
        self.asked.append(address)
        return verdicts([address])[0]


class _ErasingAnnMeanwhile(StepAccess):
    # Just when the addresses that are to be sent were read; before the first ones are, the whole batch would be undone.
    async def read(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = await super().read(work, *args, **kwargs)
        if _ANN in (found if isinstance(found, list) else []):
            erase_person(self.engine, _ANN, exports=[])
        return found


@on_sqlite
async def test_an_address_that_was_erased_meanwhile_is_not_asked_for(engine: Engine) -> None:
    """It was sent to Bouncer, where nothing can be deleted that was asked in real time."""
    others = [f"first{number}@example.com" for number in range(AT_ONCE)]
    queue(engine, [*others, _ANN, _BOB])
    claimed = write(engine, claiming.claim, ACCOUNT, batches=1, batch_size=9, fresh_for=FreshFor(), at_once=9)
    batch = take(engine, claimed.batches[0].id)
    bouncer = _Bouncer()
    run: Any = SimpleNamespace(
        log=logging.getLogger(__name__), marks=Marks(Server(Outages())), announce=lambda _what, **_details: None
    )
    assert await verify_now(_ErasingAnnMeanwhile(engine, _ACCOUNT, bouncer), run, batch) == AT_ONCE + 1
    assert bouncer.asked == [*others, _BOB]
