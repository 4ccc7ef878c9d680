"""Chooses the Prefect server for a command: the configured one, or a local one of its own."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from bouncer.safe_urls import without_secrets
from deployments.protection.working_folder import distrust_current_folder, load_prefect_settings
from deployments.server.address import configured_server, spare_this_machine_the_proxy
from deployments.server.authorities import one_authority
from deployments.server.entrance import Entrance
from deployments.server.local_server import LocalServer, local_server
from deployments.settings import Settings
from deployments.terminal.console import say

__all__ = ["RUN_SETTINGS", "orchestrator"]

RUN_SETTINGS = {
    # Retries and waits are told by these packages; with this their lines reach the run's log in the UI.
    "PREFECT_LOGGING_EXTRA_LOGGERS": "bouncer,blocks,tasks",
    # Threads that belong to no run tell of retries too; Prefect would warn of each such line in five of its own.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # Runs send their own heartbeats, and stop in time; of Prefect's, which do not, there is only the one at the start.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "86400",
    # Two questions less for each run.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
}
"""Settings that each run needs; for runs on workers they stand in prefect.yaml."""

_OF_COMMANDS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}

_JSON_HANDLER = "deployments.terminal.structured_logs.StructuredHandler"
"""By its name: the module imports Prefect."""

_OF_LOCAL_SERVER = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_API_SSL_CERT_FILE", "PREFECT_API_AUTH_STRING")
"""Put back afterwards, all of them: the local server's password is nothing for another server."""

_ROOT_LEVEL = "PREFECT_LOGGING_ROOT_LEVEL"
_DRAIN_SECONDS = 10


@contextmanager
def orchestrator(
    settings: Settings, *, modules: Sequence[str] = (), verbose: bool = False, keep: bool = False, local: bool = False
) -> Iterator[str | None]:
    """Works with a Prefect server while the block runs. Must come before the first import of Prefect.

    Args:
        settings: Where a local server keeps its files.
        modules: Imported while a local server starts, with Prefect: what the command goes on with.
        verbose: Show the runs' logs on standard error, not just their warnings.
        keep: Leave a local server running at the end.
        local: Work with a local server even where another is configured.

    Yields:
        The address of a local server's UI, or None where another is configured.

    Raises:
        OrchestratorUnavailable: The local server does not come up.
        SettingRefused: What configures a server cannot be read.
    """
    for name, value in (RUN_SETTINGS | _OF_COMMANDS).items():
        os.environ.setdefault(name, value)
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
    if settings.log_format == "json":
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS", _JSON_HANDLER)
    distrust_current_folder()
    spare_this_machine_the_proxy(os.environ)
    configured = None if local else configured_server()
    if configured is not None:
        os.environ.update(configured.variables)
        say(f"the Prefect server is {without_secrets(configured.url)}, as {configured.source} says")
        _keep_the_password_out_of_logs()
        load_prefect_settings()
        yield None
        return
    before = {name: os.environ.get(name) for name in _OF_LOCAL_SERVER}
    home = settings.bouncer_flows_home
    entrance = Entrance.of(settings)
    spare_this_machine_the_proxy(os.environ, entrance.reach)

    def get_ready(server: LocalServer) -> None:
        os.environ["PREFECT_API_URL"] = server.api_url
        os.environ["PREFECT_HOME"] = str(home / "prefect")
        os.environ["PREFECT_API_SSL_CERT_FILE"] = str(one_authority(home))
        if entrance.auth_string is not None:
            os.environ["PREFECT_API_AUTH_STRING"] = entrance.auth_string
        _keep_the_password_out_of_logs()
        load_prefect_settings()
        for module in modules:
            import_module(module)

    try:
        with local_server(home, entrance, keep=keep, meanwhile=get_ready) as server:
            try:
                yield server.ui_url
            finally:
                _send_what_waits()
    finally:
        for name, given in before.items():
            if given is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = given


def _keep_the_password_out_of_logs() -> None:
    # The library of WebSockets, by which Prefect sends events, writes down whatever it sends.
    level = os.environ.get(_ROOT_LEVEL, "").strip().upper()
    number = int(level) if level.isdecimal() else logging.getLevelName(level)
    if "PREFECT_API_AUTH_STRING" in os.environ and isinstance(number, int) and number <= logging.DEBUG:
        os.environ[_ROOT_LEVEL] = "INFO"
        say(f"{_ROOT_LEVEL}={level} would log the Prefect server's password; it is taken as INFO")


def _send_what_waits() -> None:
    # Prefect sends logs and events in the background. Once the server is gone it would try for minutes.
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=_DRAIN_SECONDS)
        APILogWorker.drain_all(timeout=_DRAIN_SECONDS)
