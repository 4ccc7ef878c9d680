"""Verifies a realistic sample from beginning to end."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

__all__ = ["demo"]

_MOST_IN_A_SAMPLE = 10_000_000


def demo(
    *,
    contacts: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=_MOST_IN_A_SAMPLE))] = 50_000,
    folder: Path = Path(".demo"),
) -> int:
    """Verifies a realistic sample from beginning to end, on embedded defaults or on what the environment names.

    Args:
        contacts: Contacts in the sample.
        folder: Where the sample, the results and the embedded servers' files go.
    """
    from deployments.demo import run_demo

    return run_demo(contacts, folder)
