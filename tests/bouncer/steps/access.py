"""Access of a step to its database, with an account and a Bouncer that a test has made."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from bouncer.storage.transactions import BesideTheLoop
from tests.bouncer.contacts import ACCOUNT

__all__ = ["StepAccess"]


@dataclass
class StepAccess(BesideTheLoop):
    """Implements ``bouncer.steps.ports.Access``.

    Attributes:
        engine: Of the contacts database.
        account: The settings that the step reads.
        client: What answers as Bouncer; None where nothing is asked of it.
        name: The account's name.
    """

    engine: Engine
    account: Any
    client: Any = None
    name: str = ACCOUNT
