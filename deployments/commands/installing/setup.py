"""Makes or mends what a run needs: tables, blocks, limits."""

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bouncer.errors import SettingRefused
from deployments.terminal.console import agreed, say, tell
from deployments.terminal.exit_codes import ExitCode

if TYPE_CHECKING:
    from deployments.settings import Settings

__all__ = ["setup"]


def setup(
    *,
    check: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Makes or mends tables, blocks and limits, from the environment variables. Safe to run again.

    Args:
        check: Only report what is off; exit code 1 if anything is.
        yes: Point the installation at another database or account, where the environment names one, without asking.
    """
    from deployments.first_contact import try_key_unless_away
    from deployments.server.orchestration import orchestrator
    from deployments.settings import read_settings

    settings = read_settings()
    away = None if check else try_key_unless_away(settings)
    with orchestrator(settings, modules=["deployments.setup.check"]):
        from deployments.setup.check import check_server, check_setup
        from deployments.setup.set_up import set_up, set_up_pool

        if check:
            changes, faults = asyncio.run(check_setup(settings)), []
        else:
            _ask_first(settings, yes=yes)
            changes = [*asyncio.run(set_up(settings)), *asyncio.run(set_up_pool(settings))]
            faults = asyncio.run(check_server())
    for line in changes:
        tell(line)
    if not changes:
        tell("everything is as it should be")
    for fault in [*faults, *([] if away is None else [away])]:
        say(f"warning: {fault}")
    return ExitCode.SOME_FAILED if check and changes else 0


def _ask_first(settings: "Settings", *, yes: bool) -> None:
    from deployments.setup.replacements import replacements

    elsewhere = [each for each in asyncio.run(replacements(settings)) if each.points_elsewhere]
    lines = [f"{each.variable}: {each.what}" for each in elsewhere]
    if lines and not agreed([*lines, "Point the installation there? What runs or waits goes on there."], yes=yes):
        raise SettingRefused(f"{lines[0]}; nothing is changed without --yes")
