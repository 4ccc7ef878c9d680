"""One circuit breaker for all workers: five failures in a row open it, one probe decides when it closes."""

from functools import partial

from sqlalchemy import Engine, update

from bouncer.accounts import circuit_breaker
from bouncer.accounts.circuit_breaker import FAILURES_TO_OPEN, OPEN_SECONDS, Entry, State
from bouncer.accounts.state import ensure_row, read_state
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Account
from tests.bouncer.contacts import ACCOUNT, at_once, set_back


def _fail(engine: Engine, times: int = 1) -> None:
    for _ in range(times):
        write(engine, circuit_breaker.record_failure, ACCOUNT)


def _enter(engine: Engine, caller: str = "worker") -> Entry:
    return write(engine, circuit_breaker.enter, ACCOUNT, caller)


def _wait(engine: Engine) -> float:
    return read(engine, circuit_breaker.seconds_closed, ACCOUNT)


def _state(engine: Engine) -> str:
    return read(engine, read_state, ACCOUNT).breaker_state


def _open(engine: Engine, seconds_ago: int = 0) -> None:
    write(engine, ensure_row, ACCOUNT)
    _fail(engine, FAILURES_TO_OPEN)
    set_back(engine, Account.breaker_changed_ts, seconds_ago)


def test_all_pass_while_nothing_is_known(engine: Engine) -> None:
    """An account that was never used has a closed breaker, and its first call makes its row."""
    assert _wait(engine) == 0
    assert [_enter(engine), _enter(engine)] == [Entry.PASSED, Entry.PASSED]
    assert _state(engine) == State.CLOSED


def test_five_failures_in_a_row_open_it(engine: Engine) -> None:
    """The fifth failure opens it for everybody, whichever workers failed."""
    _enter(engine)
    _fail(engine, 4)
    assert (_state(engine), _wait(engine)) == (State.CLOSED, 0)
    assert _enter(engine, "another") is Entry.SUSPECT
    _fail(engine)
    assert _state(engine) == State.OPEN
    for caller in ("worker", "another"):
        assert _enter(engine, caller) is Entry.REFUSED
        assert OPEN_SECONDS - 5 < _wait(engine) <= OPEN_SECONDS


def test_failures_at_once_are_all_counted(engine: Engine) -> None:
    """Of workers that fail in the same moment, though each saw the breaker closed, none is overlooked."""
    _enter(engine)
    at_once([partial(_fail, engine, 10)] * 8)
    assert (_state(engine), read(engine, read_state, ACCOUNT).breaker_failures) == (State.OPEN, 80)


def test_an_answer_in_between_starts_the_count_anew(engine: Engine) -> None:
    """Failures that are not in a row do not open it."""
    _enter(engine)
    for _ in range(3):
        _fail(engine, FAILURES_TO_OPEN - 1)
        write(engine, circuit_breaker.record_answer, ACCOUNT)
    assert _state(engine) == State.CLOSED
    assert _enter(engine) is Entry.PASSED


def test_accounts_have_breakers_of_their_own(engine: Engine) -> None:
    """An account that fails does not hold another one up."""
    _open(engine)
    assert write(engine, circuit_breaker.enter, "deep", "worker") is Entry.PASSED


def test_no_calls_for_a_minute(engine: Engine) -> None:
    """Nobody passes before a minute is over, and later failures of calls begun before do not prolong it."""
    _open(engine, seconds_ago=OPEN_SECONDS - 10)
    _fail(engine, 3)
    assert _enter(engine) is Entry.REFUSED
    assert 0 < _wait(engine) <= 10
    set_back(engine, Account.breaker_changed_ts, OPEN_SECONDS)
    assert _wait(engine) == 0
    assert _enter(engine) is Entry.SUSPECT


def test_exactly_one_probe(engine: Engine) -> None:
    """When the minute is over and eight requests ask at once, one passes, also asked twice; the others wait."""
    _open(engine, seconds_ago=OPEN_SECONDS)
    requests = [f"request {number}" for number in range(8)]
    entries = dict(zip(requests, at_once([partial(_enter, engine, request) for request in requests]), strict=True))
    (probe,) = [request for request, entry in entries.items() if entry is Entry.SUSPECT]
    assert set(entries.values()) == {Entry.SUSPECT, Entry.REFUSED}
    assert _state(engine) == State.HALF_OPEN
    assert _enter(engine, probe) is Entry.SUSPECT
    assert _wait(engine) > OPEN_SECONDS - 5


def test_a_probe_that_was_not_sent_lets_another_one_through(engine: Engine) -> None:
    """A probe that a pause kept back does not cost all others a minute; again exactly one of them passes."""
    _open(engine, seconds_ago=OPEN_SECONDS)
    _enter(engine, "probe")
    write(engine, circuit_breaker.give_probe_back, ACCOUNT, "another")
    assert _enter(engine, "another") is Entry.REFUSED
    write(engine, circuit_breaker.give_probe_back, ACCOUNT, "probe")
    assert (_state(engine), _wait(engine)) == (State.HALF_OPEN, 0)
    requests = [f"request {number}" for number in range(8)]
    entries = at_once([partial(_enter, engine, request) for request in requests])
    assert entries.count(Entry.SUSPECT) == 1


def test_only_the_probes_own_failure_opens_it(engine: Engine) -> None:
    """What becomes of a probe that was replaced says nothing about its successor."""
    _open(engine, seconds_ago=OPEN_SECONDS)
    _enter(engine, "probe")
    write(engine, circuit_breaker.fail_probe, ACCOUNT, "another")
    assert _state(engine) == State.HALF_OPEN
    write(engine, circuit_breaker.fail_probe, ACCOUNT, "probe")
    assert (_state(engine), _enter(engine, "another")) == (State.OPEN, Entry.REFUSED)
    assert _wait(engine) > OPEN_SECONDS - 5


def test_the_probes_answer_closes_it(engine: Engine) -> None:
    """After the probe's answer all pass again, and the count begins at nothing."""
    _open(engine, seconds_ago=OPEN_SECONDS)
    _enter(engine, "probe")
    write(engine, circuit_breaker.record_answer, ACCOUNT)
    assert (_state(engine), _enter(engine, "another"), _wait(engine)) == (State.CLOSED, Entry.PASSED, 0)
    _fail(engine, FAILURES_TO_OPEN - 1)
    assert _state(engine) == State.CLOSED


def test_the_probes_failure_opens_it_again(engine: Engine) -> None:
    """A single failure of the probe is enough for another minute without calls, of the probe too."""
    _open(engine, seconds_ago=OPEN_SECONDS)
    _enter(engine, "probe")
    _fail(engine)
    assert _state(engine) == State.OPEN
    assert _enter(engine, "probe") is Entry.REFUSED
    assert _wait(engine) > OPEN_SECONDS - 5


def test_a_dead_probe_is_replaced(engine: Engine) -> None:
    """When the probe was killed, another worker may take its place after a minute."""
    _open(engine, seconds_ago=OPEN_SECONDS)
    _enter(engine, "probe")
    assert _enter(engine, "another") is Entry.REFUSED
    set_back(engine, Account.breaker_changed_ts, OPEN_SECONDS)
    assert (_wait(engine), _enter(engine, "another")) == (0, Entry.SUSPECT)
    assert _enter(engine, "third") is Entry.REFUSED
    assert _enter(engine, "probe") is Entry.REFUSED


def test_it_outlives_every_process(engine: Engine) -> None:
    """A breaker that is open stays open over restarts: its state is in the database."""
    _open(engine)
    engine.dispose()
    assert _enter(engine) is Entry.REFUSED
    write(engine, lambda c: c.execute(update(Account).values(breaker_state=State.CLOSED)))
    assert _enter(engine) is not Entry.REFUSED
