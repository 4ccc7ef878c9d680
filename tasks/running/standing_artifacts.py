"""Artifacts of a standing key, which people bookmark: written only where they have changed, and few versions kept."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
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

__all__ = ["link_to_artifact", "link_to_run", "publish_changed"]

_KEPT_VERSIONS = 60


async def publish_changed(
    key: str,
    text: str,
    description: str,
    *,
    lasting: Callable[[str], object] = str,
    oldest: timedelta | None = None,
) -> bool:
    """Publishes a page in Markdown, unless its latest version says the same. Safe to run twice.

    Args:
        key: Its key, as it is called in every installation.
        text: The page.
        description: The page in a line.
        lasting: Gives of a page what makes it another one.
        oldest: A version of this age is replaced even by one that says the same.

    Returns:
        Whether it was written.

    Raises:
        httpx.HTTPError: The Prefect server does not take it.
    """
    async with get_client() as client:
        if await _is_published(client, key, text, lasting, oldest):
            return False
        await acreate_markdown_artifact(text, key=here().artifact(key), description=description)
        await _forget_old_versions(client, key)
    return True


async def _is_published(
    client: PrefectClient, key: str, text: str, lasting: Callable[[str], object], oldest: timedelta | None
) -> bool:
    # Each version is kilobytes, and as much again in the event of it: a day of them was half a gigabyte.
    found = await client.read_latest_artifacts(
        artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[here().artifact(key)]))
    )
    return any(
        one.updated is not None
        and (oldest is None or datetime.now(UTC) - one.updated < oldest)
        and lasting(str(one.data)) == lasting(text)
        for one in found
    )


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
