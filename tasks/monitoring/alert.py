"""Alerting: thresholds that are crossed begin alerts, a calm ends them, and each of both is reported once."""

from collections.abc import Sequence

from prefect import get_run_logger

from blocks.access import Access
from bouncer.monitoring import alerts
from bouncer.monitoring.alerts import AlertInForce
from bouncer.monitoring.health import Health
from bouncer.monitoring.thresholds import Thresholds
from tasks.running.events import announce_once

__all__ = ["alert"]


async def alert(
    accounts: Sequence[Access], everyone: Sequence[Access], healths: Sequence[Health], thresholds: Thresholds
) -> list[AlertInForce]:
    """Holds the figures against the thresholds, and tells what has begun and what has ended.

    Safe to run twice: alerts begin and end by compare-and-set. Each beginning and end is an event
    ``bouncer-flows.alert.began`` or ``.ended``, of an id of its own, and is noted once the server has it; after a
    kill in between, the next check sends the same event again.

    Args:
        accounts: The accounts that were looked at.
        everyone: All accounts over the one database; the alerts of others, whose blocks are gone, end.
        healths: What was measured of each.
        thresholds: Beyond what figures there is to be an alert.

    Returns:
        The alerts that are in force, the oldest first.
    """
    found: list[AlertInForce] = []
    for gone in await alerts.accounts_beside(everyone[0], [access.name for access in everyone]):
        await alerts.settle(everyone[0], gone, [], calm_minutes=0)
        await _tell(everyone[0], gone)
    for access, health in zip(accounts, healths, strict=True):
        await _tell(access, access.name)
        judgements = alerts.judge(health, thresholds)
        await alerts.settle(access, access.name, judgements, calm_minutes=thresholds.calm_minutes)
        await _tell(access, access.name)
        found += await alerts.in_force(access, access.name)
    return sorted(found, key=lambda one: one.began_ts)


async def _tell(access: Access, account: str) -> None:
    for news in await alerts.untold(access, account):
        await announce_once(
            "alert.began" if news.what == "began" else "alert.ended",
            account=account,
            once=f"{news.alert}/{news.began_ts:%Y-%m-%dT%H:%M:%S}",
            alert=news.alert,
            change=news.what,
            since=f"{news.began_ts:%Y-%m-%d %H:%M} UTC",
            message=news.message,
            minutes=round(news.seconds / 60, 1),
        )
        await alerts.mark_told(access, account, news)
        get_run_logger().warning("alert %s %s: %s", news.alert, news.what, news.message)
