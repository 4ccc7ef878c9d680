"""Flow ``check-health``: measures how all is doing, keeps the figures, alerts people once, draws the dashboard."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from blocks.access import open_access
from bouncer.thresholds import Thresholds
from flows.parameters import AccountName
from tasks.alert import alert
from tasks.dashboard import draw_dashboard
from tasks.measure import measure
from tasks.ownership import new_owner

__all__ = ["check_health"]

_PLAN = Thresholds()


@flow(name="check-health", flow_run_name="check health", persist_result=False)
async def check_health(thresholds: Thresholds = _PLAN, account: AccountName = "default") -> State[None]:
    """Looks whether all is well: database, Prefect server, Bouncer, queue and workers.

    The figures go to Bouncer_Health_Metrics and to artifact "dashboard". Each alert is one event when it begins and
    one when it ends. Needs the blocks bouncer-account and contacts-database.

    Args:
        thresholds: Beyond what figures people are alerted.
        account: The name of the Bouncer Account block that is looked at.
    """
    async with open_access(account, new_owner()) as access:
        health = await measure(access, thresholds)
        alerts = await alert(access, health, thresholds)
        await draw_dashboard(access, health, thresholds, alerts)
    if not alerts:
        return Completed(message="all is well")
    return Completed(name="Alerts", message="; ".join(f"{one.alert}: {one.message}" for one in alerts))
