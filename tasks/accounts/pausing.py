"""The switch for uploads: off and on again, by a person or an automation."""

import asyncio
from typing import Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from blocks.access import open_database
from bouncer.accounts import state as account_state
from bouncer.safe_text import clean_message
from tasks.running.events import announce

__all__ = ["Action", "switch_uploads"]

Action = Literal["pause", "resume"]


@task(name="switch-uploads", task_run_name="{action} uploads", cache_policy=NO_CACHE, persist_result=False)
async def switch_uploads(action: Action, account: str | None, by: str, reason: str) -> list[str]:
    """Lets no more uploads of an account, or of all, begin, or lets them begin again.

    Batches in flight are polled and loaded to their end all the same. Safe to run twice: who paused first, and why,
    stays; it replaces only the pause that waits for credits.

    Args:
        action: ``pause`` or ``resume``.
        account: The account block, or None for all.
        by: Who wants it.
        reason: Why.

    Returns:
        The accounts of which that was not so before.

    Raises:
        InputRefused: There is no such account.
    """
    engine = await open_database()
    named = await asyncio.to_thread(account_state.known_or_all, engine, account)
    reason = clean_message(reason)
    return [name for name in named if await _switch(engine, action, name, by, reason)]


async def _switch(engine: Engine, action: Action, account: str, by: str, reason: str) -> bool:
    if action == "pause":
        changed = await asyncio.to_thread(account_state.pause, engine, account, by=by, reason=reason)
    else:
        changed = await asyncio.to_thread(account_state.resume, engine, account)
    if not changed:
        get_run_logger().info("account %s was %sd already", account, action)
        return False
    get_run_logger().info("account %s is %sd by %s: %s", account, action, by, reason)
    if action == "pause":
        announce("uploads.paused", account=account, by=by, reason=reason)
    else:
        announce("uploads.resumed", account=account, by=by, reason=reason)
    return True
