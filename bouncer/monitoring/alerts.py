"""Alerts: a crossed threshold begins one, a calm ends it; each is reported once, whoever looks and whoever dies."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select, update

from bouncer.monitoring.figures import FIGURES
from bouncer.monitoring.health import Health
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
        message: The figure and its threshold, for a person, with what to do; empty where nothing is known.
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
    crossed = {
        figure: figure.is_crossed(health, thresholds)
        for figure in FIGURES.values()
        if figure.alert and figure.is_judged(health)
    }
    return [
        Judgement(figure.alert, one, "" if one is None else figure.says(health, thresholds))
        for figure, one in crossed.items()
    ]


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
