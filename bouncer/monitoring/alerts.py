"""Alerts: a crossed threshold begins one, a calm ends it; each is reported once, whoever looks and whoever dies."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from bouncer.monitoring.figures import Health, QueueHealth
from bouncer.monitoring.thresholds import Thresholds
from bouncer.storage.dialects import age_seconds, database_now, insert_ignoring
from bouncer.storage.tables import Alert
from bouncer.storage.transactions import reading, writing

__all__ = ["AlertInForce", "Judgement", "News", "accounts_beside", "in_force", "judge", "mark_told", "settle", "untold"]


@dataclass(frozen=True)
class Judgement:
    """Judgement of a check on one figure.

    Attributes:
        alert: The alert's name.
        crossed: Whether the figure is beyond its threshold; None where that is unknown, which changes nothing.
        message: The figure and its threshold, for a person, with what to do.
    """

    alert: str
    crossed: bool | None
    message: str


@dataclass(frozen=True)
class AlertInForce:
    """An alert that has begun and not ended.

    Attributes:
        account: The account block that it is about.
        began_ts: Since when.
        message: What was last said of it.
    """

    account: str
    alert: str
    began_ts: datetime
    message: str


@dataclass(frozen=True)
class News:
    """A beginning or an end not reported yet.

    Attributes:
        what: ``began`` or ``ended``.
        seconds: How long it was in force, of one that ended.
    """

    alert: str
    what: str
    began_ts: datetime
    message: str
    seconds: int


def judge(health: Health, thresholds: Thresholds) -> list[Judgement]:
    """Holds each figure against its threshold; what accounts share is judged with the one that leads."""
    judgements = _of_account(health, thresholds)
    if health.leads_layer:
        judgements += _of_layer(health, thresholds)
    if health.leads:
        judgements.append(
            Judgement(
                "database",
                not health.service.same_database,
                "the contacts database is not the one of the last run; bouncer-flows setup --yes has it so"
                if not health.service.same_database
                else "the contacts database is the one of the last run",
            )
        )
        failures = health.service.worker_failures_an_hour
        judgements.append(
            Judgement(
                "worker-failures",
                failures > thresholds.worker_failures_an_hour,
                f"{failures} runs failed or crashed within an hour (threshold {thresholds.worker_failures_an_hour}); "
                "the Prefect UI shows why",
            )
        )
    return judgements


def _of_layer(health: Health, thresholds: Thresholds) -> list[Judgement]:
    queue, credits_left = health.queue, health.layer_credits
    needed = queue.credits_needed
    oldest_hours = (queue.oldest_waiting_seconds or 0) / 3600
    return [
        Judgement(
            "backlog",
            queue.backlog_contacts > thresholds.backlog_contacts,
            f"{queue.backlog_contacts:,} contacts wait (threshold {thresholds.backlog_contacts:,})",
        ),
        Judgement(
            "credits",
            None if credits_left is None else credits_left < needed,
            f"{credits_left or 0:,} credits are left for {needed:,} contacts; top up at app.usebouncer.com",
        ),
        Judgement(
            "waiting",
            oldest_hours > thresholds.oldest_waiting_hours,
            f"the oldest contact has waited {oldest_hours:.1f} h (threshold {thresholds.oldest_waiting_hours:g} h)",
        ),
    ]


def _of_account(health: Health, thresholds: Thresholds) -> list[Judgement]:
    queue, account, service = health.queue, health.account, health.service
    calls, window = account.calls, health.window_minutes
    worst = ", ".join(f"{count} {kind}" for kind, count in list(calls.errors.items())[:3])
    paused_minutes = (account.paused_seconds or 0) / 60
    queued_hours = queue.longest_queued.seconds / 3600 if queue.longest_queued else 0.0
    p95 = (calls.p95_ms or 0) / 1000
    return [
        Judgement(
            "error-rate",
            _of_calls(calls.error_share * 100 > thresholds.error_rate_percent, calls.total, thresholds),
            f"{calls.error_share:.1%} of {calls.total:,} calls in {window} min brought errors"
            f"{f': {worst}' if worst else ''} (threshold {thresholds.error_rate_percent:g} %)",
        ),
        Judgement(
            "rate-limit",
            account.rate_limit_percent > thresholds.rate_limit_percent,
            f"{account.requests_a_minute} requests in a minute, {account.rate_limit_percent} % of what the limit lets "
            f"pass (threshold {thresholds.rate_limit_percent:g} %)",
        ),
        Judgement(
            "response-time",
            _of_calls(p95 > thresholds.response_seconds, calls.total, thresholds),
            f"Bouncer takes up to {p95:.1f} s for 95 of 100 calls (threshold {thresholds.response_seconds:g} s)",
        ),
        Judgement(
            "deadline",
            queue.batches_overdue > 0,
            f"{queue.batches_overdue} batches run at Bouncer beyond their deadline; does anything run?",
        ),
        Judgement("queued", queued_hours > thresholds.queued_at_bouncer_hours, _of_queued(queue, thresholds)),
        Judgement(
            "held",
            queue.batches_held > 0,
            f"{queue.batches_held} batches wait for a person, since the answers to their uploads were lost; "
            "bouncer-flows requeue --held sends them again, and they may be paid twice",
        ),
        Judgement(
            "paused",
            paused_minutes > thresholds.paused_minutes,
            f"paused for {paused_minutes:.0f} min by {account.state.paused_by}: {account.state.paused_reason} "
            f"(threshold {thresholds.paused_minutes:g} min)"
            if account.paused_seconds is not None
            else "not paused",
        ),
        Judgement(
            "bouncer",
            service.bouncer_trouble is not None if service.bouncer_known else None,
            service.bouncer_trouble or "Bouncer answers",
        ),
    ]


def _of_queued(queue: QueueHealth, thresholds: Thresholds) -> str:
    longest = queue.longest_queued
    if longest is None:
        return "no batch is queued at Bouncer"
    return (
        f"batch {longest.batch} is queued at Bouncer for {longest.seconds / 3600:.1f} h, since "
        f"{longest.since_ts:%Y-%m-%d %H:%M} UTC (threshold {thresholds.queued_at_bouncer_hours:g} h); "
        "app.usebouncer.com shows whose list is ahead; it is paid for and will run, so do not send it again"
    )


@writing
def settle(connection: Connection, account: str, judgements: Iterable[Judgement], *, calm_minutes: float) -> None:
    """Begins and ends alerts, each by compare-and-set, so that checks at the same time begin one alert.

    Those that are not among the judgements end at once: the account no longer speaks for others, say, and nobody else
    would ever end them.

    Args:
        connection: In a transaction that writes.
        account: The name of the account block.
        judgements: All that a check made of the account's figures.
        calm_minutes: How long a figure must have been on the right side before its alert ends.
    """
    # Not the database's own CURRENT_TIMESTAMP: on SQLite that would be written otherwise than it is compared.
    now = database_now(connection)
    is_in_force = (Alert.began_ts.is_not(None), Alert.ended_ts.is_(None))
    judged = list(judgements)
    connection.execute(
        update(Alert)
        .where(Alert.account == account, Alert.alert.not_in([one.alert for one in judged]), *is_in_force)
        .values(ended_ts=now, ended_told=False, message="no check looks at this any more")
    )
    for one in judged:
        if one.crossed is None:
            continue
        mine = (Alert.account == account, Alert.alert == one.alert)
        message = one.message[:255]
        if not one.crossed:
            calm = age_seconds(Alert.crossed_ts) >= calm_minutes * 60
            connection.execute(
                update(Alert).where(*mine, *is_in_force, calm).values(ended_ts=now, ended_told=False, message=message)
            )
            continue
        if connection.scalar(select(Alert.alert).where(*mine)) is None:
            connection.execute(insert_ignoring(connection, Alert), {"account": account, "alert": one.alert})
        connection.execute(
            update(Alert)
            .where(*mine, or_(Alert.began_ts.is_(None), Alert.ended_ts.is_not(None)))
            .values(began_ts=now, ended_ts=None, began_told=False, ended_told=False)
        )
        connection.execute(update(Alert).where(*mine).values(crossed_ts=now, message=message))


@reading
def in_force(connection: Connection, account: str) -> list[AlertInForce]:
    """The alerts that have begun and not ended, the oldest first."""
    rows = connection.execute(
        select(Alert.alert, Alert.began_ts, Alert.message)
        .where(Alert.account == account, Alert.began_ts.is_not(None), Alert.ended_ts.is_(None))
        .order_by(Alert.began_ts, Alert.alert)
    )
    return [AlertInForce(account, row.alert, row.began_ts, row.message or "") for row in rows]


@reading
def accounts_beside(connection: Connection, accounts: Collection[str]) -> list[str]:
    """Names other accounts with alerts that are in force, or whose end was not reported: their blocks were removed."""
    is_open = or_(Alert.ended_ts.is_(None), Alert.ended_told.is_(False))
    return list(
        connection.scalars(
            select(Alert.account)
            .distinct()
            .where(Alert.account.not_in(accounts), Alert.began_ts.is_not(None), is_open)
            .order_by(Alert.account)
        )
    )


@reading
def untold(connection: Connection, account: str) -> list[News]:
    """Beginnings and ends not reported yet, in their order."""
    rows = connection.execute(
        select(Alert, (age_seconds(Alert.began_ts) - age_seconds(Alert.ended_ts)).label("seconds"))
        .where(
            Alert.account == account,
            Alert.began_ts.is_not(None),
            or_(Alert.began_told.is_(False), Alert.ended_ts.is_not(None) & Alert.ended_told.is_(False)),
        )
        .order_by(Alert.began_ts, Alert.alert)
    ).all()
    news = []
    for row in rows:
        told = {"began": row.began_told, "ended": row.ended_told or row.ended_ts is None}
        news += [
            News(row.alert, what, row.began_ts, row.message or "", int(row.seconds or 0))
            for what, is_told in told.items()
            if not is_told
        ]
    return news


@writing
def mark_told(connection: Connection, account: str, news: News) -> None:
    """Notes that somebody was told; of an alert that has begun anew meanwhile, nothing is noted."""
    told = {"began_told": True} if news.what == "began" else {"ended_told": True}
    connection.execute(
        update(Alert)
        .where(Alert.account == account, Alert.alert == news.alert, Alert.began_ts == news.began_ts)
        .values(**told)
    )


def _of_calls(is_beyond: bool, calls: int, thresholds: Thresholds) -> bool | None:  # a figure's verdict
    # A few calls beyond the threshold say too little to begin an alert, and that it is not over yet; a few within it
    # end one, or an idle account, of which only the credits are asked, would never be well again.
    return None if is_beyond and calls < thresholds.min_calls else is_beyond
