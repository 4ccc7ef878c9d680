"""Flow ``check-health``: measures how all is doing, keeps the figures, alerts people once, draws the dashboard."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from blocks.access import among, open_accounts
from bouncer.monitoring.thresholds import Thresholds
from flows.parameters import AccountName
from tasks.batches.ownership import new_owner
from tasks.monitoring.alert import alert
from tasks.monitoring.dashboard import draw_dashboard
from tasks.monitoring.measure import measure
from tasks.running.heartbeats import sends_heartbeats
from tasks.running.standing_artifacts import Published
from tasks.upkeep.idle_ticks import leave_no_trace

__all__ = ["check_health"]

_PLAN = Thresholds()


@flow(name="check-health", flow_run_name="check health", persist_result=False)
@sends_heartbeats
async def check_health(thresholds: Thresholds = _PLAN, accounts: list[AccountName] | None = None) -> State[None]:
    """Looks whether all is well: database, Prefect server, Bouncer, queue and workers.

    The figures go to Bouncer_Health_Metrics and to artifact "dashboard". Each alert is one event when it begins and
    one when it ends. Needs the blocks bouncer-account and contacts-database.

    Args:
        thresholds: Beyond what figures people are alerted.
        accounts: The names of the Bouncer Account blocks to look at; all saved ones if left at None. What all share is
            looked at with the first one of all, and the dashboard is drawn where all are looked at.
    """
    async with open_accounts(None, new_owner()) as everyone:
        looked_at = among(everyone, accounts)
        # No task runs: they would be nine events on the server, 63 kB, 144 times a day.
        healths = await measure(looked_at, everyone, thresholds)
        alerts = await alert(looked_at, everyone, healths, thresholds)
        drawn = Published.AS_BEFORE
        if len(looked_at) == len(everyone):
            drawn = await draw_dashboard(everyone[0], healths, thresholds, alerts)
    if not alerts:
        # What has changed is looked up later, and is found by its run.
        if drawn is not Published.CHANGED:
            await leave_no_trace(renewed=drawn is Published.RENEWED)
        return Completed(message="all is well")
    return Completed(name="Alerts", message="; ".join(f"{one.alert}: {one.message}" for one in alerts))
