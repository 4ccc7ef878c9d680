"""Serves the deployments on this machine, with a local Prefect server unless another is named, until stopped."""

import asyncio
import os

from prefect import get_client
from prefect.runner import Runner

from blocks.access import open_accounts, open_database
from deployments.serving.callback_receiver import receiving_callbacks
from deployments.serving.metrics_endpoint import serving_metrics
from deployments.serving.stop_signals import stop_signals
from deployments.serving.watch import watch_queue
from deployments.settings import Settings, without_secrets
from deployments.setup.deployments_from_yaml import own_deployments, pause_until_served, retire_former_deployments
from deployments.setup.set_up import set_up_deep_pass, set_up_the_rest
from deployments.terminal.console import say

__all__ = ["serve_until_stopped"]

_LOOK_SECONDS = 1.0
_ASK_SECONDS = 15.0
"""Four calls a minute, for runs that a schedule or a person has started; those of the watch are asked for at once."""


async def serve_until_stopped(settings: Settings, ui: str | None) -> None:
    """Sets up what is missing, says where the UI is, and runs what is scheduled or asked for there.

    Args:
        settings: The environment.
        ui: The address of the local server's UI, or None where another server is used.
    """
    with stop_signals() as hear_them:
        for change in await set_up_the_rest(settings):
            say(change)
        # The runs read blocks. What they inherit, others could read of their processes.
        for name in os.environ.keys() - without_secrets(os.environ).keys():
            del os.environ[name]
        say(f"the Prefect UI is at {ui}; Ctrl-C ends it" if ui else "serving it; Ctrl-C ends it")
        slots = await _slots_of_all_accounts()
        engine = await open_database()
        with receiving_callbacks(settings, engine) as port, serving_metrics(settings, engine) as metrics:
            if port is not None:
                say(f"callbacks are received at {settings.callback_host}, port {port}")
            if metrics is not None:
                say(f"figures for Prometheus are at http://{settings.metrics_host}:{metrics}/metrics")
            # Room for the batches in flight, for those that are loaded meanwhile, and for ingest beside them.
            runner = Runner(limit=slots + 5, query_seconds=_ASK_SECONDS, pause_on_shutdown=False)
            async with get_client() as client:
                for deployment in await own_deployments(client, slots):
                    await runner.aadd_deployment(deployment)
                await retire_former_deployments(client)
                # Now, since its automation names a deployment, which must be there before.
                for change in await set_up_deep_pass(client):
                    say(change)
            # As it starts, it takes SIGTERM for itself.
            asyncio.get_running_loop().call_soon(hear_them)

            async def take_up() -> None:
                # Its pace is fixed once it has started, and there is no public way to have it ask sooner.
                if runner.started:
                    await runner._get_and_submit_flow_runs()  # type: ignore[no-untyped-call]  # Prefect types it nowhere

            watching = asyncio.create_task(watch_queue(engine, _LOOK_SECONDS, take_up), name="watch")
            try:
                await runner.start()
            finally:
                watching.cancel()
                async with get_client() as client:
                    await pause_until_served(client)


async def _slots_of_all_accounts() -> int:
    async with open_accounts(None, "serve") as accounts:
        return sum(access.account.max_concurrent_batches for access in accounts)
