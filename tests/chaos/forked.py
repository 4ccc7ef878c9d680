"""What a forked process does in the place of an interpreter that has just started; imported before the fork."""

from prefect.context import refresh_global_settings_context
from prefect.logging.configuration import setup_logging

from deployments.command_line import main
from deployments.server.orchestration import orchestrator
from deployments.settings import read_settings

__all__ = ["run_command_line"]


def run_command_line() -> None:
    """Runs the command line with the present environment, at which Prefect looks again."""
    with orchestrator(read_settings()):
        refresh_global_settings_context()
        setup_logging(incremental=False)
    main()
