"""Lets uploads begin again."""

from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import OneAccount

__all__ = ["resume"]


def resume(*, account: OneAccount = None) -> int:
    """Lets uploads begin again. An account without credits pauses anew at its next upload."""
    from bouncer.accounts import state as account_state
    from deployments.settings import read_settings
    from deployments.terminal.console import tell

    engine = open_contacts(read_settings())
    named = account_state.known_or_all(engine, account)
    resumed = [name for name in named if account_state.resume(engine, name)]
    which = f" {', '.join(resumed)}" if len(named) > 1 else ""
    tell(f"resumed{which}" if resumed else "it was not paused")
    return 0
