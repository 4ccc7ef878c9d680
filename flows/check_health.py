"""Flow ``check-health``: measures how all is doing, keeps the figures, alerts people once, draws the dashboard."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from blocks.access import open_accounts
from bouncer.thresholds import Thresholds
from flows.parameters import AccountName
from tasks.alert import alert
from tasks.dashboard import draw_dashboard
from tasks.measure import measure
from tasks.ownership import new_owner

__all__ = ["check_health"]

_PLAN = Thresholds()


@flow(name="check-health", flow_run_name="check health", persist_result=False)
async def check_health(thresholds: Thresholds = _PLAN, accounts: list[AccountName] | None = None) -> State[None]:
    """Looks whether all is well: database, Prefect server, Bouncer, queue and workers.

    The figures go to Bouncer_Health_Metrics and to artifact "dashboard". Each alert is one event when it begins and
    one when it ends. Needs the blocks bouncer-account and contacts-database.

    Args:
        thresholds: Beyond what figures people are alerted.
        accounts: The names of the Bouncer Account blocks to look at; all saved ones if left at None.
    """
    async with open_accounts(accounts, new_owner()) as opened:
        healths = await measure(opened, thresholds)
        alerts = await alert(opened, healths, thresholds)
        await draw_dashboard(opened[0], healths, thresholds, alerts)
    if not alerts:
        return Completed(message="all is well")
    return Completed(name="Alerts", message="; ".join(f"{one.alert}: {one.message}" for one in alerts))
