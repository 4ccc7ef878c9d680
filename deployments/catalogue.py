"""The deployments of ``bouncer-flows serve``: those of prefect.yaml, on one machine and without a work pool."""

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from flows.housekeeping import housekeeping
from flows.ingest import ingest
from flows.requeue import requeue
from flows.verify_batch import verify_batch

__all__ = ["served_deployments"]

_TAGS = ["bouncer-flows"]


async def served_deployments(slots: int) -> list[RunnerDeployment]:
    """Makes the deployments.

    Args:
        slots: The most batches in flight.
    """
    return [
        await ingest.ato_deployment(
            "ingest",
            description="Every minute: takes up what was left behind and starts batches for the free slots.",
            parameters={"on_workers": True},
            schedule=Cron("* * * * *", timezone="UTC"),
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            tags=_TAGS,
            entrypoint_type=EntrypointType.MODULE_PATH,
        ),
        await verify_batch.ato_deployment(
            "verify-batch",
            description="One batch from its row to its verdicts, from whatever step it has reached.",
            concurrency_limit=ConcurrencyLimitConfig(limit=slots, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
            tags=_TAGS,
            entrypoint_type=EntrypointType.MODULE_PATH,
        ),
        await requeue.ato_deployment(
            "requeue",
            description="Puts failed contacts back into the queue and marks their dead letters reviewed.",
            tags=_TAGS,
            entrypoint_type=EntrypointType.MODULE_PATH,
        ),
        await housekeeping.ato_deployment(
            "housekeeping",
            description="Every hour: deletes what is too old, frees leaked slots, takes back contacts of lost batches.",
            schedule=Cron("17 * * * *", timezone="UTC"),
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            tags=_TAGS,
            entrypoint_type=EntrypointType.MODULE_PATH,
        ),
    ]
