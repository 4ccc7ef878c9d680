"""Pause and credits of an account are shared by all workers and outlive them."""

from functools import partial

import pytest
from sqlalchemy import Engine

from bouncer.accounts import state as account_state
from bouncer.accounts.state import AccountState, PauseKind
from bouncer.storage.engine import read, write
from tests.bouncer.contacts import ACCOUNT, at_once


def _state(engine: Engine, account: str = ACCOUNT) -> AccountState:
    return read(engine, account_state.read_state, account)


def test_an_account_that_was_never_used(engine: Engine) -> None:
    """It is not paused, its breaker is closed, and its credits are unknown."""
    assert _state(engine) == AccountState(ACCOUNT)
    assert not _state(engine).waits_for_credits
    assert not write(engine, account_state.resume, ACCOUNT)


def test_pause_and_resume(engine: Engine) -> None:
    """A pause says by whom and why; a second one does not hide the first; resuming ends it."""
    assert write(engine, account_state.pause, ACCOUNT, by="anna@host", reason="maintenance")
    assert not write(
        engine, account_state.pause, ACCOUNT, by="ingest", reason="no credits", kind=PauseKind.OUT_OF_CREDITS
    )
    state = _state(engine)
    assert (state.paused_by, state.paused_reason, state.waits_for_credits) == ("anna@host", "maintenance", False)
    assert state.paused_ts is not None
    assert _state(engine, "deep").paused_ts is None
    assert write(engine, account_state.resume, ACCOUNT)
    assert _state(engine) == AccountState(ACCOUNT)


def test_only_the_lack_of_credits_ends_by_itself(engine: Engine) -> None:
    """New credits end the pause that their lack began, and never one that a person began."""
    write(engine, account_state.pause, ACCOUNT, by="anna", reason="maintenance")
    assert not write(engine, account_state.resume, ACCOUNT, only_kind=PauseKind.OUT_OF_CREDITS)
    write(engine, account_state.resume, ACCOUNT)
    write(engine, account_state.pause, ACCOUNT, by="ingest", reason="no credits", kind=PauseKind.OUT_OF_CREDITS)
    assert _state(engine).waits_for_credits
    assert write(engine, account_state.resume, ACCOUNT, only_kind=PauseKind.OUT_OF_CREDITS)
    assert _state(engine).paused_ts is None


def test_a_person_can_pause_while_credits_lack(engine: Engine) -> None:
    """New credits do not end a pause that a person wished for while there were none."""
    write(engine, account_state.pause, ACCOUNT, by="ingest", reason="no credits", kind=PauseKind.OUT_OF_CREDITS)
    assert write(engine, account_state.pause, ACCOUNT, by="anna", reason="maintenance")
    assert not write(engine, account_state.resume, ACCOUNT, only_kind=PauseKind.OUT_OF_CREDITS)
    assert _state(engine).paused_by == "anna"


def test_many_pause_at_once(engine: Engine) -> None:
    """Of fifteen batches that run out of credits together one tells it, so that one event goes out."""
    pause = partial(
        write, engine, account_state.pause, ACCOUNT, by="ingest", reason="no credits", kind=PauseKind.OUT_OF_CREDITS
    )
    assert sum(at_once([pause] * 15)) == 1


@pytest.mark.parametrize("text", ["x" * 1_000, "lunch 🍕 at Žižkov"])
def test_any_reason_can_be_given(engine: Engine, text: str) -> None:
    """A long reason, or one with characters that the plan's tables cannot hold, pauses all the same."""
    assert write(engine, account_state.pause, ACCOUNT, by="x" * 1_000, reason=text)
    reason = _state(engine).paused_reason
    assert reason is not None
    assert reason[:6] == text[:6]


def test_credits(engine: Engine) -> None:
    """The credits that Bouncer last told are kept, with the time."""
    for left in (500, 400):
        write(engine, account_state.record_credits, ACCOUNT, left)
    state = _state(engine)
    assert state.credits == 400
    assert state.credits_ts is not None


@pytest.mark.parametrize("reason", ["out of credits", "Out of credits until Monday"])
def test_a_pause_of_a_person_stays_whatever_its_reason_says(engine: Engine, reason: str) -> None:
    """New credits ended a pause whose reason a person had worded as the program words its own."""
    assert write(engine, account_state.pause, ACCOUNT, by="anna", reason=reason)
    assert not _state(engine).waits_for_credits
    assert not write(engine, account_state.resume, ACCOUNT, only_kind=PauseKind.OUT_OF_CREDITS)
    assert _state(engine).paused_by == "anna"
