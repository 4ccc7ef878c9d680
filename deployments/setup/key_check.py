"""Check that Bouncer takes a key, made before anything that a wrong key would leave half-done."""

import asyncio
import socket

from sqlalchemy import Engine

from blocks.bouncer_account import BouncerAccount
from bouncer.errors import BouncerFlowsError, KeyRefused

__all__ = ["refuse_wrong_key"]

_PATIENCE_SECONDS = 20
"""A Bouncer that is away for longer says nothing about the key, and whoever has set up something should not wait."""


async def refuse_wrong_key(account: BouncerAccount, engine: Engine, name: str) -> None:
    """Asks Bouncer for the credits with an account's key; where Bouncer does not answer, nothing is said of the key.

    Args:
        account: The account, saved or not.
        engine: Of the contacts database, where the request is counted.
        name: The name of its block, whose limits the request passes.

    Raises:
        KeyRefused: Bouncer does not take the key.
    """
    opening = account.get_client(engine, name=name, caller=f"setup on {socket.gethostname()}", saved_key=False)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), opening as client:
            await client.credits()
    except KeyRefused:
        raise
    except (BouncerFlowsError, TimeoutError):
        return
