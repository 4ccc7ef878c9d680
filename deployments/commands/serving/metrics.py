"""Serves the figures for Prometheus."""

import signal

from bouncer.errors import SettingRefused
from deployments.commands.contacts import open_contacts
from deployments.terminal.console import say

__all__ = ["metrics"]


def metrics() -> int:
    """Serves the figures for Prometheus at METRICS_HOST and METRICS_PORT until it is stopped."""
    from deployments.serving.metrics_endpoint import serving_metrics
    from deployments.settings import read_settings

    settings = read_settings()
    if settings.metrics_port == 0:
        raise SettingRefused("METRICS_PORT is not set; name the port, such as 9464")
    engine = open_contacts(settings)
    ends = {signal.SIGINT, signal.SIGTERM}
    # Before there is another thread, which would take them instead.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with serving_metrics(settings, engine) as port:
        say(f"figures for Prometheus are at http://{settings.metrics_host}:{port}/metrics")
        signal.sigwait(ends)
    return 0
