"""The mark that flow runs of this installation carry from their beginning."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags

from bouncer.installation import here

__all__ = ["marked"]


@contextmanager
def marked(*more: str) -> Iterator[None]:
    """Gives the installation's tags, and some more, to each flow run that is begun meanwhile."""
    with tags(*here().tags, *more):
        yield
