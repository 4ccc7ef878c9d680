"""Artifacts of a standing key, which people bookmark: written only where they have changed, and few versions kept."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterKey,
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for

from bouncer.installation import here

__all__ = ["Published", "link_to_artifact", "link_to_run", "publish_changed"]

_KEPT_VERSIONS = 60


class Published(Enum):
    """Outcome of publishing a page."""

    AS_BEFORE = "its latest version says the same"
    RENEWED = "written again, since its latest version was old"
    CHANGED = "written, since it says something else"


async def publish_changed(
    key: str,
    text: str,
    description: str,
    *,
    lasting: Callable[[str], object] = str,
    oldest: timedelta | None = None,
) -> Published:
    """Publishes a page in Markdown, unless its latest version says the same. Safe to run twice.

    Args:
        key: Its key, as it is called in every installation.
        text: The page.
        description: The page in a line.
        lasting: Gives of a page what makes it another one.
        oldest: A version of this age is replaced even by one that says the same.

    Raises:
        httpx.HTTPError: The Prefect server does not take it.
    """
    async with get_client() as client:
        outcome = await _due(client, key, text, lasting, oldest)
        if outcome is not Published.AS_BEFORE:
            await acreate_markdown_artifact(text, key=here().artifact(key), description=description)
            await _forget_old_versions(client, key)
    return outcome


async def _due(
    client: PrefectClient, key: str, text: str, lasting: Callable[[str], object], oldest: timedelta | None
) -> Published:
    # Each version is kilobytes, and as much again in the event of it: a day of them was half a gigabyte.
    found = await client.read_latest_artifacts(
        artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[here().artifact(key)]))
    )
    for one in found:
        if one.updated is not None and lasting(str(one.data)) == lasting(text):
            is_old = oldest is not None and datetime.now(UTC) - one.updated >= oldest
            return Published.RENEWED if is_old else Published.AS_BEFORE
    return Published.CHANGED


async def _forget_old_versions(client: PrefectClient, key: str) -> None:
    old = await client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[here().artifact(key)])),
        # Another project may have a key of this name too.
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[here().tag])),
        sort=ArtifactSort.CREATED_DESC,
        offset=_KEPT_VERSIONS,
        limit=_KEPT_VERSIONS,
    )
    for version in old:
        with suppress(ObjectNotFound):
            await client.delete_artifact(version.id)


def link_to_run(run: UUID) -> str:
    """The address of a flow run in the UI that the page is read in."""
    in_cloud = url_for("flow-run", obj_id=run) if _is_cloud() else None
    return in_cloud or f"/runs/flow-run/{run}"


def link_to_artifact(key: str) -> str:
    """The address of an artifact in the UI that the page is read in.

    Args:
        key: Its key, as it is called in every installation.
    """
    path = f"/artifacts/key/{here().artifact(key)}"
    return f"{get_current_settings().ui_url}{path}" if _is_cloud() else path


def _is_cloud() -> bool:
    # Of any other server, only the browser knows by which address it is reached: not the workers, which write this.
    settings = get_current_settings()
    return (settings.api.url or "").startswith(settings.cloud.api_url)
