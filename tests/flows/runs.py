"""What the Prefect server knows of runs, asked over its API."""

from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterKey,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from blocks.run_tags import marked
from bouncer.queue.ingest_summary import IngestSummary
from flows.ingest import ingest

__all__ = ["events", "ingested", "subflows_of", "tasks_of", "text_of_artifact", "until_it_holds"]

until_it_holds = retry(
    retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.2), stop=stop_after_delay(30), reraise=True
)
"""For what comes about in the background: Prefect sends task runs, logs and events when it finds the time."""


async def ingested(request_id: int | None = None) -> tuple[IngestSummary, UUID]:
    """Runs ``ingest``, which must succeed, and returns its summary and its run's id."""
    with marked():
        state: State[IngestSummary] = await ingest(request_id, return_state=True)
    summary = await state.aresult()
    run = state.state_details.flow_run_id
    assert run is not None
    return summary, run


async def subflows_of(run: UUID) -> list[FlowRun]:
    """The subflow runs of a run."""
    parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    async with get_client() as client:
        return await client.read_flow_runs(flow_run_filter=parent)


async def tasks_of(*runs: UUID) -> list[TaskRun]:
    """The task runs of some runs."""
    of_runs = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=list(runs)))
    async with get_client() as client:
        return await client.read_task_runs(task_run_filter=of_runs)


async def text_of_artifact(key: str) -> str:
    """What the latest artifact of a key says."""
    async with get_client() as client:
        (artifact,) = await client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
        )
    return str(artifact.data)


async def events(prefix: str) -> list[dict[str, Any]]:
    """The events whose names begin so, the latest first."""
    wanted = {"filter": {"event": {"prefix": [prefix]}}, "limit": 50}
    async with get_client() as client:
        answer = await client.request("POST", "/events/filter", json=wanted)
        found: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
        return found
