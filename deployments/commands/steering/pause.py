"""Lets no more uploads begin."""

from deployments.commands.caller import caller
from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import OneAccount

__all__ = ["pause"]


def pause(*, reason: str = "by hand", account: OneAccount = None) -> int:
    """Lets no more uploads begin; batches in flight are polled and loaded to their end.

    Args:
        reason: The reason, for others to read.
    """
    from bouncer.accounts import state as account_state
    from deployments.settings import read_settings
    from deployments.terminal.console import tell

    engine = open_contacts(read_settings())
    named = account_state.known_or_all(engine, account)
    paused = [name for name in named if account_state.pause(engine, name, by=caller(), reason=reason)]
    which = f" {', '.join(paused)}" if len(named) > 1 else ""
    tell(f"paused{which}; bouncer-flows resume lets uploads begin again" if paused else "it was paused already")
    return 0
