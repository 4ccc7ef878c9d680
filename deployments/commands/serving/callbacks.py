"""Receives Bouncer's callbacks."""

from deployments.commands.contacts import open_contacts

__all__ = ["callbacks"]


def callbacks() -> int:
    """Receives Bouncer's callbacks until it is stopped, and does nothing else; for runs on workers."""
    from deployments.serving.callback_receiver import receive_until_stopped
    from deployments.settings import read_settings

    settings = read_settings()
    receive_until_stopped(settings, open_contacts(settings))
    return 0
