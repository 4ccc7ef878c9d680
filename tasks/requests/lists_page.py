"""Artifact ``lists``: the latest lists at a glance, with links to their runs and results; what a person bookmarks."""

from collections.abc import Sequence
from pathlib import PurePath
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException

from blocks.access import Access
from bouncer.installation import FlowName, here
from bouncer.monitoring.charts import bar, verdict_bar
from bouncer.plurals import counted
from bouncer.requests.overview import RequestLine, list_requests
from bouncer.requests.users import LOCAL_USER
from bouncer.safe_text import clean_message, in_markdown
from tasks.running.standing_artifacts import link_to_artifact, link_to_run, publish_changed

__all__ = ["LISTS", "publish_lists"]

LISTS = "lists"
"""Its key."""

_MOST = 30
_MOST_RUNS = 200
_FLOWS: tuple[FlowName, ...] = ("verify-list", "ingest", "verify-risky")
"""The flows whose runs are linked to, the best first."""

_BAR = 10
_CHART = (120, 12)


async def publish_lists(access: Access) -> None:
    """Publishes the page, if anything on it has changed. Safe to run twice, and by several at once.

    Args:
        access: The database.
    """
    lines = await list_requests(access, all_of_them=True, most=_MOST)
    try:
        text = _markdown(lines, await _runs_of(lines))
        await publish_changed(LISTS, text, f"bouncer-flows: {counted(_open(lines), 'list')} under way")
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("artifact lists could not be written (%s); the next change does", type(error).__name__)


def _open(lines: Sequence[RequestLine]) -> int:
    return sum(line.settled < line.contacts for line in lines)


async def _runs_of(lines: Sequence[RequestLine]) -> dict[int, UUID]:
    tags = {f"request:{line.request_id}": line.request_id for line in lines}
    found: dict[int, UUID] = {}
    if not tags:
        return found
    async with get_client() as client:
        for flow in _FLOWS:
            runs = await client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
                flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[here().tag], any_=list(tags))),
                sort=FlowRunSort.START_TIME_DESC,
                limit=_MOST_RUNS,
            )
            for run in runs:
                for tag in tags.keys() & set(run.tags):
                    found.setdefault(tags[tag], run.id)
    return found


def _markdown(lines: Sequence[RequestLine], runs: dict[int, UUID]) -> str:
    return "\n".join(
        [
            "# Lists",
            "",
            "| | name | owner | lines | progress | verdicts | credits | run | result |",
            "|---:|:---|:---|---:|:---|:---|---:|:---|:---|",
            *(_row(line, runs.get(line.request_id)) for line in lines),
            "",
            f"The latest {_MOST}; `bouncer-flows requests --all` has more.",
        ]
    )


def _row(line: RequestLine, run: UUID | None) -> str:
    cells = (
        str(line.request_id),
        in_markdown(clean_message(line.name)),
        # By number: an artifact is stored at the Prefect server, where no address may be.
        LOCAL_USER if line.owner == LOCAL_USER else f"user {line.user_id}",
        "" if line.lines is None else f"{line.lines:,}",
        _progress(line),
        verdict_bar(line.verdicts, width=_CHART[0], height=_CHART[1]),
        f"{line.credits:,}",
        "" if run is None else f"[run]({link_to_run(run)})",
        _result(line),
    )
    return f"| {' | '.join(cells)} |"


def _progress(line: RequestLine) -> str:
    if line.is_cancelled:
        return "cancelled"
    failed = f", {line.failed:,} failed" if line.failed else ""
    # Rounded down: what is at 100 % is complete.
    return f"`{bar(line.progress, width=_BAR)}` {int(100 * line.progress)} %{failed}"


def _result(line: RequestLine) -> str:
    if line.result is not None:
        name = in_markdown(clean_message(PurePath(line.result).name))
        return f"[{name}]({link_to_artifact(f'list-{line.request_id}')})"
    if line.contacts and line.settled == line.contacts:
        return f"[report]({link_to_artifact(f'request-{line.request_id}')})"
    return ""
