"""High-water marks of uploads, as Prefect variables: what a contacts database that was restored cannot know."""

import re
from contextlib import suppress

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectAlreadyExists

from blocks.limiter import through_server_outages
from bouncer.accounts.upload_history import UploadCount
from bouncer.errors import OrchestratorUnavailable
from bouncer.installation import here

__all__ = ["forget_marks", "read_mark", "write_mark"]

_HISTORY = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
_MOST = 200


async def read_mark(history: str) -> UploadCount:
    """Reads the highest count of a history that was written down; 0 where there is none.

    Raises:
        OrchestratorUnavailable: The Prefect server did not come back within ``blocks.limiter.OUTAGE_SECONDS``.
    """
    value: object = await through_server_outages()(_read, _name(history))
    # A person can write anything there.
    return UploadCount(history, value if isinstance(value, int) else 0)


async def write_mark(count: UploadCount) -> None:
    """Writes a count down. Of two at the same moment either may stay; the next upload's is higher than both.

    Raises:
        OrchestratorUnavailable: The Prefect server did not come back within ``blocks.limiter.OUTAGE_SECONDS``.
    """
    await through_server_outages()(_write, _name(count.history), count.uploads)


async def forget_marks(client: PrefectClient) -> list[str]:
    """Deletes all marks of this installation, for when it goes off the server.

    Returns:
        Their names.
    """
    beginning = _name("")
    names = [
        variable.name
        for variable in await client.read_variables(limit=_MOST)
        if variable.name.startswith(beginning) and _HISTORY.fullmatch(variable.name.removeprefix(beginning))
    ]
    for name in names:
        await client.delete_variable_by_name(name)
    return names


def _name(history: str) -> str:
    return here().variable(f"uploads_{history}")


async def _read(name: str) -> object:
    try:
        async with get_client() as client:
            variable = await client.read_variable_by_name(name)
    except httpx.HTTPError as error:
        raise _away() from error
    return None if variable is None else variable.value


async def _write(name: str, uploads: int) -> None:
    try:
        async with get_client() as client:
            try:
                await client.update_variable(VariableUpdate(name=name, value=uploads))
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise
                # Another upload may be the first at the same moment.
                with suppress(ObjectAlreadyExists):
                    await client.create_variable(VariableCreate(name=name, value=uploads))
    except httpx.HTTPError as error:
        raise _away() from error


def _away() -> OrchestratorUnavailable:
    return OrchestratorUnavailable("the Prefect server cannot be reached; is it running?")
