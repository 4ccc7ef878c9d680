"""The contacts database that this installation has last worked on, as a Prefect variable."""

import httpx
from prefect import get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate

from bouncer.installation import here

__all__ = ["last_database", "note_database", "variable_name"]


def variable_name() -> str:
    """The variable's name."""
    return here().variable("database")


async def last_database() -> str | None:
    """The id of the last database; None where none was noted."""
    async with get_client() as client:
        variable = await client.read_variable_by_name(variable_name())
    return str(variable.value) if variable is not None and variable.value else None


async def note_database(id_: str) -> None:
    """Notes that the installation works on a database now."""
    async with get_client() as client:
        try:
            await client.update_variable(VariableUpdate(name=variable_name(), value=id_))
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            await client.create_variable(VariableCreate(name=variable_name(), value=id_, tags=[here().tag]))
