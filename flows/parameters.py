"""Types of parameters that several flows have, with the bounds that the forms in the UI hold."""

from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

from bouncer.safe_text import WITHOUT_ADDRESS

__all__ = ["AccountName", "BatchId", "OneRequest", "Reason"]

# Prefect keeps and shows what stands in a form.
_NO_ADDRESS: JsonDict = {"pattern": WITHOUT_ADDRESS}

OneRequest = (
    Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1, max_length=255, json_schema_extra=_NO_ADDRESS)]
)
"""The number of a request, its row in Requests, or its name; by its number where the name holds an address."""

Reason = Annotated[str, Field(min_length=1, max_length=255, json_schema_extra=_NO_ADDRESS)]
"""The reason for something, for others to read."""

BatchId = Annotated[int, Field(ge=1)]
"""The number of a batch: its row in Bouncer_Batches."""

AccountName = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""The name that a Bouncer Account block was saved under."""
