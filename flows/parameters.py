"""Types of parameters that several flows have, with the bounds that the forms in the UI hold."""

from typing import Annotated

from pydantic import Field

__all__ = ["AccountName", "BatchId", "OneRequest"]

OneRequest = Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1, max_length=255)]
"""The number of a request, its row in Requests, or its name."""

BatchId = Annotated[int, Field(ge=1)]
"""The number of a batch: its row in Bouncer_Batches."""

AccountName = Annotated[str, Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""The name that a Bouncer Account block was saved under."""
