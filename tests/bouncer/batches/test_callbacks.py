"""Callbacks in the database: matched by token alone, believed in nothing, forgotten when they prove false."""

import pytest
from sqlalchemy import Engine

from bouncer.accounts.state import pause
from bouncer.batches import admission, callbacks, ownership, transitions
from bouncer.batches.callbacks import Callback
from bouncer.batches.state import BatchWork
from bouncer.batches.unsettled import ownerless, unsettled
from bouncer.errors import OwnershipLost
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Batch
from tests.bouncer.contacts import ACCOUNT, batch_rows, set_back, small_batches, take

_ID = "65f0c1a2b3d4e5f60718293a"


def _look(engine: Engine, batch: BatchWork) -> Callback:
    return read(engine, callbacks.look_for, batch, max_batches=15, longest_wait=1000)


@pytest.mark.parametrize(
    ("body", "query", "ids"),
    [
        (b'{"batchId": "%s", "status": "completed"}' % _ID.encode(), "", (_ID, "completed")),
        (b'{"status": "completed", "data": [{"batch": {"id": "%s"}}]}' % _ID.encode(), "", (_ID, "completed")),
        (b"status=completed&batch_id=%s" % _ID.encode(), "", (_ID, "completed")),
        (b'{"id": "another1", "requestId": "%s"}' % _ID.encode(), "", (_ID, "another1")),
        (b"", f"id={_ID}", (_ID,)),
        (b'{"batchId": "../credits", "other": null}', "", ()),
        (b'{"batchId": 12345678}', "", ("12345678",)),
        (b"\xff\xfe nothing", "", ()),
        (b"[" * 5000 + b"]" * 5000, "", ()),
        (b'{"id": "aaaaaa1", "a": "aaaaaa2", "b": "aaaaaa3", "c": "aaaaaa4", "d": "aaaaaa5"}', "", None),
    ],
)
def test_ids_are_found_whatever_the_payload_looks_like(body: bytes, query: str, ids: tuple[str, ...] | None) -> None:
    """An id is found under any name, the likeliest first, never more than four, and never what is no id."""
    found = callbacks.ids_in(body, query)
    if ids is None:
        assert (len(found), found[0]) == (4, "aaaaaa1")
    else:
        assert found == ids


def test_a_batch_has_one_token_for_all_its_uploads(engine: Engine) -> None:
    """The token is made once and is another for each batch; a run that lost the batch gets none."""
    first, second = (take(engine, id_) for id_ in small_batches(engine, 2))
    token = write(engine, callbacks.ensure_token, first)
    assert callbacks.is_token(token)
    assert write(engine, callbacks.ensure_token, first) == token
    assert write(engine, callbacks.ensure_token, second) != token


def test_a_callback_is_noted_in_the_row_of_its_token_only(engine: Engine) -> None:
    """Whoever has no token changes nothing; what the token's batch was told stays when a later call names nothing."""
    called, other = (take(engine, id_) for id_ in small_batches(engine, 2))
    token = write(engine, callbacks.ensure_token, called)
    assert not write(engine, callbacks.note, "0" * 64, ("stranger",))
    assert write(engine, callbacks.note, token, (_ID,))
    assert write(engine, callbacks.note, token, ())
    rows = {row.id: row for row in batch_rows(engine)}
    assert rows[called.id].callback_ids == _ID
    assert rows[called.id].callback_ts is not None
    assert rows[other.id].callback_ts is None
    assert read(engine, callbacks.present, called.id) == rows[called.id].callback_ts


def test_a_lost_upload_waits_as_long_as_bouncer_may_need(engine: Engine) -> None:
    """The wait runs from the loss of the answer and not from the latest restart, and never beyond what is allowed."""
    batch = take(engine, small_batches(engine, 1)[0])

    def wait(longest: float) -> float:
        return read(engine, callbacks.look_for, batch, max_batches=15, longest_wait=longest).wait_seconds

    assert write(engine, admission.admit_upload, batch, 15) is admission.Admission.ADMITTED
    write(engine, ownership.record_lost_answer, batch)
    assert wait(1000) <= 0, "an upload without a token cannot be called back"
    write(engine, callbacks.ensure_token, batch)
    slowest = admission.longest_at_bouncer_seconds(2, 15)
    assert 71 <= slowest <= 72
    assert slowest - 5 <= wait(1000) <= slowest
    assert wait(20) <= 20
    set_back(engine, Batch.upload_begun_ts, 50)
    set_back(engine, Batch.progress_ts, 40)
    write(engine, ownership.record_lost_answer, batch)
    assert wait(1000) <= slowest - 40


def test_a_batch_that_was_called_for_is_not_sent_again(engine: Engine) -> None:
    """Bouncer may have what it calls for, so the upload waits until that is settled; a false call is forgotten."""
    batch = take(engine, small_batches(engine, 1)[0])
    token = write(engine, callbacks.ensure_token, batch)
    write(engine, callbacks.note, token, (_ID,))
    assert write(engine, admission.admit_upload, batch, 15) is admission.Admission.CALLED
    assert write(engine, callbacks.forget, batch, _look(engine, batch))
    assert write(engine, admission.admit_upload, batch, 15) is admission.Admission.ADMITTED


def test_a_batch_that_was_called_for_goes_on_although_its_account_is_paused(engine: Engine) -> None:
    """It is at Bouncer, and a pause lets what is there go on to its end: its verdicts are paid for and wait."""
    batch = take(engine, small_batches(engine, 1)[0])
    token = write(engine, callbacks.ensure_token, batch)
    write(engine, pause, ACCOUNT, by="a person", reason="no more today")
    assert write(engine, admission.admit_upload, batch, 15) is admission.Admission.PAUSED
    write(engine, callbacks.note, token, (_ID,))
    assert write(engine, admission.admit_upload, batch, 15) is admission.Admission.CALLED


@pytest.mark.parametrize("seen", [(), ("nonsense",)])
def test_a_call_that_comes_while_another_is_looked_at_is_not_forgotten(engine: Engine, seen: tuple[str, ...]) -> None:
    """To ask Bouncer about an id takes a while; the id that comes meanwhile is the one that was paid for."""
    batch = take(engine, small_batches(engine, 1)[0])
    token = write(engine, callbacks.ensure_token, batch)
    write(engine, callbacks.note, token, seen)
    looked_at = _look(engine, batch)
    write(engine, callbacks.note, token, (_ID,))
    assert not write(engine, callbacks.forget, batch, looked_at)
    assert _look(engine, batch).ids == (_ID,)
    assert write(engine, callbacks.forget, batch, _look(engine, batch))
    assert _look(engine, batch).at is None


def test_a_run_that_lost_its_batch_forgets_nothing(engine: Engine) -> None:
    """What its successor is to look at stays, and it is told to stop."""
    batch = take(engine, small_batches(engine, 1)[0])
    write(engine, callbacks.note, write(engine, callbacks.ensure_token, batch), (_ID,))
    write(engine, ownership.release, batch)
    successor = take(engine, batch.id, "successor")
    with pytest.raises(OwnershipLost):
        write(engine, callbacks.forget, batch, _look(engine, batch))
    assert _look(engine, successor).ids == (_ID,)


def test_a_held_batch_is_taken_up_when_bouncer_calls_for_it(engine: Engine) -> None:
    """A held upload needs no person any more once a callback came, not even while uploads are paused."""
    batch = take(engine, small_batches(engine, 1)[0])
    token = write(engine, callbacks.ensure_token, batch)
    write(engine, admission.admit_upload, batch, 15)
    write(engine, transitions.record_lost_upload, batch, hold=True)
    write(engine, ownership.release, batch)
    assert read(engine, ownerless, ACCOUNT) == []
    write(engine, callbacks.note, token, ())
    (called,) = read(engine, unsettled, [ACCOUNT])
    assert (called.title.id, called.is_left_behind, called.goes_on_while_paused) == (batch.id, True, True)


def test_an_upload_that_was_found_is_not_counted_as_paid_twice(engine: Engine) -> None:
    """What was counted when the answer was lost is taken back, and no more than that."""
    batch = take(engine, small_batches(engine, 1)[0])
    write(engine, admission.admit_upload, batch, 15)
    write(engine, transitions.record_lost_upload, batch, hold=True)
    for _ in range(2):
        write(engine, callbacks.record_found, batch)
    assert batch_rows(engine)[0].ambiguous_uploads == 0


def test_an_id_of_another_batch_is_recognised(engine: Engine) -> None:
    """What belongs to another batch already is never taken for this one, whatever a callback says."""
    first, second = (take(engine, id_) for id_ in small_batches(engine, 2))
    write(engine, transitions.record_upload, first, _ID, 0)
    assert read(engine, callbacks.is_of_another_batch, second, _ID)
    assert not read(engine, callbacks.is_of_another_batch, first, _ID)
