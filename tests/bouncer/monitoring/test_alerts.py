"""An alert begins once and ends once, whoever looks at the same time and whoever dies before it is told."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Engine

from bouncer.accounts.call_statistics import CallFigures
from bouncer.accounts.state import AccountState
from bouncer.monitoring.alerts import Judgement, accounts_beside, in_force, judge, mark_told, settle, untold
from bouncer.monitoring.figures import FIGURES, kept_figures
from bouncer.monitoring.health import (
    AccountHealth,
    AccountLimits,
    Health,
    QueuedBatch,
    QueueHealth,
    Scope,
    ServiceHealth,
)
from bouncer.monitoring.thresholds import Thresholds
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Alert
from tests.bouncer.contacts import ACCOUNT, set_back
from tests.bouncer.storage.existing_tables import on_sqlite

_CROSSED = Judgement("backlog", crossed=True, message="12 contacts wait (threshold 10)")
_CALM = Judgement("backlog", crossed=False, message="3 contacts wait (threshold 10)")
_UNKNOWN = Judgement("backlog", crossed=None, message="nobody knows")


def _settle(engine: Engine, judgement: Judgement, calm_minutes: float = 0) -> None:
    write(engine, settle, ACCOUNT, [judgement], calm_minutes=calm_minutes)


def _news(engine: Engine) -> list[tuple[str, str]]:
    """Tells what is untold, as a check does."""
    news = read(engine, untold, ACCOUNT)
    for one in news:
        write(engine, mark_told, ACCOUNT, one)
    return [(one.what, one.message) for one in news]


def test_checks_at_the_same_time_begin_one_alert(engine: Engine) -> None:
    """Eight checks that see a threshold crossed begin one alert; what is told is told once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _settle(engine, _CROSSED), range(8)))
    assert [(one.alert, one.message) for one in read(engine, in_force, ACCOUNT)] == [("backlog", _CROSSED.message)]
    assert _news(engine) == [("began", _CROSSED.message)]
    _settle(engine, _CROSSED)
    assert _news(engine) == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _settle(engine, _CALM), range(8)))
    assert read(engine, in_force, ACCOUNT) == []
    assert _news(engine) == [("ended", _CALM.message)]
    assert _news(engine) == []


def test_an_alert_comes_back_as_a_new_one(engine: Engine) -> None:
    """After its end it can begin again, and is told again."""
    for _ in range(2):
        _settle(engine, _CROSSED)
        _settle(engine, _CALM)
        assert [what for what, _ in _news(engine)] == ["began", "ended"]


def test_what_a_dead_check_did_not_tell_is_told_by_the_next(engine: Engine) -> None:
    """A beginning that was not told before the process died stays untold, until somebody has."""
    _settle(engine, _CROSSED)
    first = read(engine, untold, ACCOUNT)
    assert read(engine, untold, ACCOUNT) == first
    assert len(first) == 1
    assert len(_news(engine)) == 1


def test_an_alert_ends_after_a_calm(engine: Engine) -> None:
    """A figure that swings about its threshold is one alert, until it has been calm for the time that was asked for."""
    for judgement in (_CROSSED, _CALM, _CROSSED, _CALM):
        _settle(engine, judgement, calm_minutes=3)
    assert [what for what, _ in _news(engine)] == ["began"]
    set_back(engine, Alert.crossed_ts, 180)
    _settle(engine, _CALM, calm_minutes=3)
    assert [what for what, _ in _news(engine)] == ["ended"]


def test_an_alert_that_nobody_judges_any_more_ends(engine: Engine) -> None:
    """An account that does not lead any more, or whose block was removed, leaves no alert behind for ever."""
    _settle(engine, _CROSSED)
    _settle(engine, Judgement("paused", crossed=False, message="not paused"), calm_minutes=60)
    assert read(engine, in_force, ACCOUNT) == []
    assert [what for what, _ in _news(engine)] == ["began", "ended"]
    _settle(engine, _CROSSED)
    assert read(engine, accounts_beside, [ACCOUNT]) == []
    assert read(engine, accounts_beside, ["another"]) == [ACCOUNT]
    write(engine, settle, ACCOUNT, [], calm_minutes=60)
    assert read(engine, accounts_beside, ["another"]) == [ACCOUNT]
    assert [what for what, _ in _news(engine)] == ["began", "ended"]
    assert read(engine, accounts_beside, ["another"]) == []


@on_sqlite
def test_what_nobody_knows_changes_nothing(engine: Engine) -> None:
    """Credits that cannot be asked for neither begin an alert nor end one."""
    _settle(engine, _UNKNOWN)
    assert read(engine, in_force, ACCOUNT) == []
    _settle(engine, _CROSSED)
    _settle(engine, _UNKNOWN)
    assert len(read(engine, in_force, ACCOUNT)) == 1
    assert [what for what, _ in _news(engine)] == ["began"]


_QUIET = QueueHealth(0, None, 0, 0, 0, 0, None, 0, 0, 0, 0, 0, 0)
_NO_CALLS = CallFigures(0, {}, None, None, None)
_ACCOUNT_HEALTH = AccountHealth(
    AccountState("default", credits=1_000_000), None, 0, AccountLimits(15, 200, 180), _NO_CALLS, {}
)
_SERVICE = ServiceHealth(
    1,
    1,
    bouncer_trouble=None,
    bouncer_known=True,
    worker_failures_an_hour=0,
    late_runs=0,
    workers_online=0,
    run_memory_mb=100,
    run_cpu_ms=100,
)
_WELL = Health(_QUIET, _ACCOUNT_HEALTH, _SERVICE, 5, layer_credits=1_000_000)


def _queued(seconds: int) -> QueuedBatch:
    return QueuedBatch(12, datetime(2026, 11, 29, 9, 30), seconds)  # noqa: DTZ001  # as the database has it


def test_a_batch_that_is_queued_at_bouncer_is_alerted_with_how_long_and_since_when() -> None:
    """Whoever is told can look what is ahead of it, and does not send it again, which is paid twice."""
    waits = replace(_WELL, queue=replace(_QUIET, longest_queued=_queued(3 * 3600)))
    (told,) = (one for one in judge(waits, Thresholds()) if one.crossed)
    assert told.alert == "queued"
    assert "batch 12 is queued at Bouncer for 3.0 h, since 2026-11-29 09:30 UTC (threshold 2 h)" in told.message
    assert "do not send it again" in told.message
    assert len(told.message) <= 255


def _crossed(health: Health) -> set[str]:
    return {one.alert for one in judge(health, Thresholds()) if one.crossed}


@pytest.mark.parametrize(
    ("alert", "at_it", "beyond_it"),
    [
        ("backlog", {"backlog_contacts": 100_000}, {"backlog_contacts": 100_001}),
        ("waiting", {"oldest_waiting_seconds": 86_400}, {"oldest_waiting_seconds": 86_500}),
        ("deadline", {"batches_overdue": 0}, {"batches_overdue": 1}),
        ("queued", {"longest_queued": _queued(7200)}, {"longest_queued": _queued(7201)}),
        ("held", {"batches_held": 0}, {"batches_held": 1}),
        ("credits", {"unsent_contacts": 1_000_000}, {"unsent_contacts": 1_000_001}),
        ("rate-limit", {"requests_a_minute": 162}, {"requests_a_minute": 164}),
        ("paused", {"paused_seconds": 3600}, {"paused_seconds": 3601}),
        ("error-rate", {"calls": CallFigures(100, {"x": 5}, 1, 1, 1)}, {"calls": CallFigures(100, {"x": 6}, 1, 1, 1)}),
        ("error-rate", {"calls": CallFigures(19, {}, 1, 1, 1)}, {"calls": CallFigures(20, {"x": 2}, 1, 1, 1)}),
        ("response-time", {"calls": CallFigures(20, {}, 1, 5000, 1)}, {"calls": CallFigures(20, {}, 1, 5001, 1)}),
        ("database", {"same_database": True}, {"same_database": False}),
        ("worker-failures", {"worker_failures_an_hour": 10}, {"worker_failures_an_hour": 11}),
        ("bouncer", {"bouncer_trouble": None}, {"bouncer_trouble": "the key is refused"}),
    ],
)
def test_the_plans_thresholds(alert: str, at_it: dict[str, object], beyond_it: dict[str, object]) -> None:
    """A figure at its threshold is well, and one beyond it is not; no other alert comes of it."""
    for values, expected in ((at_it, set()), (beyond_it, {alert})):
        queue, account, service = (
            replace(part, **{name: value for name, value in values.items() if hasattr(part, name)})
            for part in (_QUIET, _ACCOUNT_HEALTH, _SERVICE)
        )
        assert _crossed(replace(_WELL, queue=queue, account=account, service=service)) == expected


def test_what_accounts_share_is_alerted_once() -> None:
    """Two accounts over one queue are one alert of its backlog, age and credits, and one of failed runs."""
    shared = {"backlog", "credits", "waiting", "worker-failures", "database"}
    follower = replace(_WELL, leads=False, leads_layer=False)
    of_layer = replace(_WELL, leads=False)
    leader, second, of_deep = ({one.alert for one in judge(one_, Thresholds())} for one_ in (_WELL, follower, of_layer))
    assert shared <= leader
    assert second == leader - shared
    assert of_deep == leader - {"worker-failures", "database"}
    own = {name for name in kept_figures(_WELL) if FIGURES[name].scope is not Scope.ALL}
    assert set(kept_figures(follower)) == {f"{name}@default" for name in own}


def test_few_calls_say_nothing() -> None:
    """One error of one call is neither an alert nor the end of one; no call at all is a calm."""
    few = replace(_WELL, account=replace(_ACCOUNT_HEALTH, calls=CallFigures(1, {"x": 1}, 1, 90_000, 90_000)))
    told = {one.alert: one.crossed for one in judge(few, Thresholds())}
    assert (told["error-rate"], told["response-time"]) == (None, None)
    told = {one.alert: one.crossed for one in judge(_WELL, Thresholds())}
    assert (told["error-rate"], told["response-time"]) == (False, False)


def test_every_figure_has_its_meaning() -> None:
    """What a check keeps is explained in one place, by the same names."""
    calls = CallFigures(10, {"rate limited": 1}, 1, 2, 3)
    health = replace(_WELL, account=replace(_ACCOUNT_HEALTH, calls=calls, by_call={"create": calls}))
    assert {name.partition(".")[0] for name in kept_figures(health)} <= set(FIGURES)
    assert kept_figures(health)["error_rate_permille.rate limited"] == 100
    assert kept_figures(health)["response_p95_ms.create"] == 2
