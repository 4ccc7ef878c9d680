"""A batch that is queued at Bouncer is looked at by its turn, however wrong what is expected of that turn."""

from datetime import timedelta

import pytest

from bouncer.batches.batches_in_flight import QueueAhead
from bouncer.batches.state import BatchState, BatchWork
from bouncer.steps.watch import Watch
from bouncer.storage.tables import Layer

_SHORTEST, _LONGEST = 10.0, 30.0
_AHEAD = QueueAhead(in_flight=1, queued=1, seconds=300.0, seconds_an_address=0.036)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _queued(clock: _Clock, *, makes_room: bool = False) -> Watch:
    work = BatchWork(
        id=1,
        owner="worker",
        bouncer_id="bouncer-1",
        account="default",
        user_id=1,
        request_id=1,
        priority=50,
        quantity=10_000,
        processed=0,
        state=BatchState.QUEUED_AT_BOUNCER,
        in_flight_seconds=0.0,
        idle_seconds=0.0,
        ambiguous_uploads=0,
        stale_lease=None,
        finishing=False,
        split_from=None,
        layer=Layer.BASIC,
        realtime=False,
        unanswered=0,
    )
    return Watch(work, _AHEAD, clock, makes_room=makes_room)


@pytest.mark.parametrize(("soon", "at_most"), [(False, 330 + 360), (True, 330)], ids=["waited for", "cancelled"])
def test_a_turn_that_seems_to_come_later_and_later_is_looked_for_all_the_same(soon: bool, at_most: float) -> None:
    """Batches ahead that nobody saw begin kept those behind them, and each other, from ever being looked at."""
    clock = _Clock()
    watch = _queued(clock)
    clock.now = _SHORTEST
    watch.look()
    while (rest := watch.rest(_SHORTEST, _LONGEST, soon=soon)) > 0:
        clock.now += min(rest, _LONGEST)
        assert clock.now < at_most
        watch.expect(_AHEAD)


def test_a_batch_whose_turn_comes_sooner_than_it_seemed_is_looked_at_sooner() -> None:
    """What is ahead of it was done in a minute, and it was looked at when its turn had been expected."""
    clock = _Clock()
    watch = _queued(clock)
    clock.now = _SHORTEST
    watch.look()
    expected = watch.rest(_SHORTEST, _LONGEST)
    clock.now += 60
    watch.expect(QueueAhead(in_flight=0, queued=0, seconds=0.0, seconds_an_address=0.006))
    assert watch.rest(_SHORTEST, _LONGEST) < expected - 60


@pytest.mark.parametrize(
    ("waited", "processed"),
    [(0, 0), (None, 200), (0, 50), (0, 200)],
    ids=["nothing verified", "nobody knows since when", "what there is in the first seconds", "a fiftieth"],
)
def test_an_early_look_is_followed_by_another(waited: float | None, processed: int) -> None:
    """A third of the slowest pace's time was let pass, in which quick batches were long done."""
    clock = _Clock()
    watch = _queued(clock, makes_room=True)
    assert watch.rest(_SHORTEST, _LONGEST) == pytest.approx(2)
    clock.now = 2.0
    watch.note_running(None if waited is None else timedelta(seconds=waited))
    watch.note(processed)
    watch.look()
    assert watch.rest(_SHORTEST, _LONGEST) == pytest.approx(_SHORTEST)
