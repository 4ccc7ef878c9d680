"""A batch is in one state at a time, and only what is declared changes it."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select, update

from bouncer.batches import state, transition_table, transitions
from bouncer.batches.ownership import take
from bouncer.batches.state import BatchState, BatchWork, is_in, state_of
from bouncer.batches.transition_table import TRANSITIONS, By, Transition
from bouncer.errors import OwnershipLost
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from tests.bouncer.contacts import batch_rows, new_request, set_back, small_batches
from tests.bouncer.contacts import take as take_batch

_COLUMNS: dict[BatchState, dict[str, Any]] = {
    BatchState.READY: {},
    BatchState.TO_RESEND: {"ambiguous_uploads": 1},
    BatchState.UPLOADING: {"upload_begun_ts": func.current_timestamp()},
    BatchState.HELD: {"held_ts": func.current_timestamp(), "ambiguous_uploads": 1},
    BatchState.ASKING: {"realtime": True, "unanswered": 2},
    BatchState.QUEUED_AT_BOUNCER: {"status": "processing", "bouncer_id": "b"},
    BatchState.RUNNING_AT_BOUNCER: {
        "status": "processing",
        "bouncer_id": "b",
        "running_ts": func.current_timestamp(),
    },
    BatchState.VERIFIED: {"status": "downloading", "bouncer_id": "b"},
    BatchState.COMPLETED: {"status": "completed", "bouncer_id": "b"},
    BatchState.FAILED: {"status": "failed", "bouncer_id": "b"},
}

_CARRIED_OUT: dict[Transition, Callable[[Connection, BatchWork], object]] = {
    transition_table.BEGIN_UPLOAD: lambda c, batch: transitions.begin_upload(c, batch, None),
    transition_table.REFUSED_UPLOAD: transitions.record_refused_upload,
    transition_table.LOST_UPLOAD: lambda c, batch: transitions.record_lost_upload(c, batch, hold=False),
    transition_table.RESEND_HELD: lambda c, batch: transitions.resend_held(c, Batch.id == batch.id),
    transition_table.UPLOADED: lambda c, batch: transitions.record_upload(c, batch, "new", 0),
    transition_table.RUNS: transitions.record_running,
    transition_table.VERIFIED: lambda c, batch: transitions.record_verified(c, batch, 2),
    transition_table.LOADED: transitions.complete,
    transition_table.BEGIN_ASKING: lambda c, batch: transitions.begin_asking(c, batch, 2),
    transition_table.ANSWERS: lambda c, batch: transitions.record_answers(
        c, batch, answered=1, expected=1, lost=1, hold=True
    ),
    transition_table.LOST_ANSWERS: lambda c, batch: transitions.record_lost_answers(c, batch, hold=True),
    transition_table.ASKED_ALL: transitions.complete_asking,
    transition_table.DISSOLVE: transitions.dissolve,
    transition_table.RETURN_UNSENT: lambda c, batch: transitions.return_unsent(c, [batch.id]),
    transition_table.LOSE: lambda c, batch: transitions.lose(c, batch, "lost"),
    transition_table.FAIL: lambda c, batch: transitions.fail(c, batch, "refused"),
    transition_table.SPLIT: lambda c, batch: transitions.split(c, batch, (1, 2)),
    transition_table.CLOSE_EMPTY: lambda c, batch: transitions.close_empty(c, batch.id),
}


def _state(engine: Engine, batch_id: int) -> BatchState | None:
    found = read(engine, lambda c: c.scalar(select(state_of()).where(Batch.id == batch_id)))
    return None if found is None else BatchState(found)


def _in_state(engine: Engine, wanted: BatchState, of: Transition | None = None) -> BatchWork:
    (batch,) = small_batches(engine, 1)
    work = take_batch(engine, batch)
    columns = {**_COLUMNS[wanted], **({"realtime": True} if of is transition_table.BEGIN_ASKING else {})}
    if columns:
        write(engine, lambda c: c.execute(update(Batch).where(Batch.id == batch).values(columns)))
    return work


def test_every_batch_is_in_exactly_one_state(engine: Engine) -> None:
    """Whatever its columns hold, one state's condition is met, the column names it, and every set agrees."""
    request = new_request(engine)
    now = func.current_timestamp()
    choices = {
        "status": ["queued", "processing", "downloading", "completed", "failed"],
        "bouncer_id": [None, "b"],
        "upload_begun_ts": [None, now],
        "held_ts": [None, now],
        "running_ts": [None, now],
        "ambiguous_uploads": [0, 1],
        "realtime": [False, True],
        "unanswered": [0, 3],
    }
    rows = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]

    def fill(connection: Connection) -> None:
        for number, row in enumerate(rows):
            id_ = None if row["bouncer_id"] is None else f"b{number}"
            of = {"user_id": 1, "request_id": request, "quantity": 2}
            connection.execute(insert(Batch).values(**{**row, "bouncer_id": id_}, **of))

    write(engine, fill)
    conditions = [is_in(one).label(one.name) for one in BatchState]
    found = read(engine, lambda c: c.execute(select(state_of(), *conditions)).all())
    assert len(found) == len(rows) == 640
    for row in found:
        assert [one for one in BatchState if getattr(row, one.name)] == [BatchState(row.state)]
    sets = [getattr(state, name) for name in state.__all__ if isinstance(getattr(state, name), frozenset)]
    assert len(sets) == 9
    counted = read(engine, lambda c: [c.scalar(select(func.count()).where(is_in(*states))) for states in sets])
    assert counted == [sum(BatchState(row.state) in states for row in found) for states in sets]


@pytest.mark.parametrize("transition", _CARRIED_OUT, ids=lambda one: one.name)
def test_a_transition_leads_where_it_is_declared_to_and_from_nowhere_else(
    engine: Engine, transition: Transition
) -> None:
    """From each declared state it leads to a declared one; in any other state the batch stays as it is."""
    for source in BatchState:
        work = _in_state(engine, source, transition)
        if transition.by is By.SUCCESSOR:
            set_back(engine, Batch.heartbeat_ts, 600, Batch.id == work.id)
        before = _state(engine, work.id)
        assert before is source
        try:
            write(engine, _CARRIED_OUT[transition], work)
        except OwnershipLost:
            assert source not in transition.sources
        after = _state(engine, work.id)
        assert after in transition.moves.get(source, (source,)), (source, after)
        write(engine, lambda c, id_=work.id: c.execute(update(Batch).where(Batch.id == id_).values(bouncer_id=None)))


@pytest.mark.parametrize(
    "transition", [one for one in _CARRIED_OUT if one.by in {By.OWNER, By.SUCCESSOR}], ids=lambda one: one.name
)
def test_a_transition_is_only_for_those_who_may(engine: Engine, transition: Transition) -> None:
    """A run that lost its batch changes nothing, nor does anybody else while a living owner works on it."""
    for source in transition.sources:
        work = _in_state(engine, source, transition)
        set_back(engine, Batch.heartbeat_ts, 600, Batch.id == work.id)
        assert write(engine, take, work.id, "successor") is not None
        before = [tuple(row) for row in batch_rows(engine)]
        try:
            write(engine, _CARRIED_OUT[transition], work)
        except OwnershipLost:
            assert transition.by is By.OWNER
        assert [tuple(row) for row in batch_rows(engine)] == before
        write(engine, lambda c, id_=work.id: c.execute(update(Batch).where(Batch.id == id_).values(bouncer_id=None)))


def test_all_transitions_are_tried(engine: Engine) -> None:
    """None is declared and never carried out: those of a cancellation are tried with it, and making makes one."""
    made = small_batches(engine, 1)
    assert _state(engine, made[0]) is BatchState.READY
    of_cancellation = {transition_table.WITHDRAW, transition_table.WITHDRAW_LEFT, transition_table.WITHDRAW_HELD}
    elsewhere = {transition_table.MAKE, *of_cancellation}
    assert set(TRANSITIONS) == set(_CARRIED_OUT) | elsewhere
    names = [one for one in transition_table.__all__ if isinstance(getattr(transition_table, one), Transition)]
    assert len(names) == len(TRANSITIONS)


def test_a_batch_began_to_run_when_bouncer_says(engine: Engine) -> None:
    """The time that it was queued, by Bouncer's clock, counts from its upload by ours, and never beyond the present."""
    for waited, began in ((timedelta(minutes=50), 600.0), (timedelta(hours=9), 0.0), (None, 0.0)):
        work = _in_state(engine, BatchState.QUEUED_AT_BOUNCER)
        set_back(engine, Batch.uploaded_ts, 3_600, Batch.id == work.id)
        assert write(engine, transitions.record_running, work, waited)
        assert not write(engine, transitions.record_running, work, waited)
        row = batch_rows(engine)[-1]
        assert _state(engine, work.id) is BatchState.RUNNING_AT_BOUNCER
        assert abs((row.progress_ts - row.running_ts).total_seconds() - began) <= 2
        write(engine, lambda c, id_=work.id: c.execute(update(Batch).where(Batch.id == id_).values(bouncer_id=None)))


def test_progress_shows_that_a_batch_runs(engine: Engine) -> None:
    """Where Bouncer names no status that is known, addresses that are verified tell."""
    work = _in_state(engine, BatchState.QUEUED_AT_BOUNCER)
    write(engine, transitions.record_progress, work, 1)
    assert _state(engine, work.id) is BatchState.RUNNING_AT_BOUNCER
