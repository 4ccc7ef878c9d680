"""Loading saved blocks, so that one that cannot be used is reported by its field, and never by its values."""

from typing import Any, TypeVar

from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from bouncer.errors import SettingRefused

__all__ = ["load_saved", "refusal", "saved_values"]

_Saved = TypeVar("_Saved", bound=Block)


async def load_saved(block: type[_Saved], name: str, client: PrefectClient | None = None) -> _Saved | None:
    """Loads a saved block.

    Args:
        block: Its class.
        name: The name that it was saved under.
        client: An open client of the Prefect server, or None for one of its own.

    Returns:
        The block, or None where none was saved.

    Raises:
        SettingRefused: What was saved, as in the UI, cannot be used; the message names the field.
    """
    # Not by the block's own aload: it sends an event each time, and its error quotes the values, the key among them.
    document = await _document(block, name, client)
    if document is None:
        return None
    try:
        return block.model_validate(document.data)
    except ValidationError as error:
        refused = refusal(block, name, error)
    # Out here, where the error above is not even the context of this one.
    raise refused


def refusal(block: type[Block], name: str, error: ValidationError) -> SettingRefused:
    """Words the error for values that are no block; raise it outside of the handler of ``error``, which quotes them.

    Args:
        block: The class.
        name: The name that it is saved under, or is to be.
        error: What is wrong with the values.
    """
    first = error.errors(include_input=False, include_context=False)[0]
    said = str(first["msg"]).removeprefix("Value error, ")
    field = f"{first['loc'][0]}: " if first["loc"] else ""
    return SettingRefused(
        f"block {block.get_block_type_slug()}/{name} cannot be used: {field}{said}; "
        "mend it in the Prefect UI under Blocks, or set the field's variable, if it has one, and run bouncer-flows "
        "setup"
    )


async def saved_values(block: type[Block], name: str) -> dict[str, Any]:
    """The fields of a saved block as they stand there, whether they can be used or not; empty where none was saved."""
    document = await _document(block, name, None)
    values = {} if document is None else document.data
    return {field: value for field, value in values.items() if field in block.model_fields}


async def _document(block: type[Block], name: str, client: PrefectClient | None) -> BlockDocument | None:
    if client is None:
        async with get_client() as one_of_its_own:
            return await _document(block, name, one_of_its_own)
    try:
        return await client.read_block_document_by_name(name, block.get_block_type_slug(), include_secrets=True)
    except ObjectNotFound:
        return None
