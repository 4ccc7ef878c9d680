"""Asks before a list joins a finished request that was another list of the same name."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["may_join"]


def may_join(engine: "Engine | None", place: str | Path, request: str | None, user: str | None, *, yes: bool) -> bool:
    """Asks, where the question arises.

    Args:
        engine: The contacts database; None where there is none yet.
        place: The list, opened by ``opened_list``.
        request: The name of its request, or None for the file's.
        user: The request's user, or None.
        yes: The answer that was given beforehand.

    Returns:
        Whether it may join such a request.

    Raises:
        FinishedUnderThisName: The answer is no, or nobody is there to ask.
    """
    from bouncer.files.importing import request_names
    from bouncer.files.lists.list_rows import finished_under
    from bouncer.files.lists.sources import opened_list
    from deployments.terminal.console import agreed

    if yes or engine is None:
        return yes
    with opened_list(str(place)) as source:
        joined = finished_under(engine, *request_names(place, request, user), source.digest)
    if joined is None:
        return False
    if not agreed([joined.fact, "Add this list to it?"], yes=False):
        raise joined
    return True
