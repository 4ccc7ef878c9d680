"""Following a page word by word, in a clean folder, and saying where it is not true."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.docs.page import Commands, commands_of, matches
from tests.docs.terminal import Ended, Terminal

__all__ = ["PageWrong", "follow", "plain_environment"]

SECONDS = 600.0
"""How long a block of commands may take."""

_AGAIN_SECONDS = 2.0


class PageWrong(Exception):
    """What a page says is not what happens."""


def plain_environment(home: Path, **more: str) -> dict[str, str]:
    """The variables of somebody who has just logged in, in a home of their own.

    Args:
        home: Their home folder.
        **more: Further variables.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        # How this machine reaches packages and repositories; all else of the caller's is left behind.
        if name in {"LANG", "PATH", "TERM", "TZ"}
        or name.startswith(("GIT_", "PIP_", "SSL_"))
        or name.lower().endswith("_proxy")
    }
    return {**kept, "HOME": str(home), **more}


def follow(page: Path, folder: Path, notes: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Runs the commands of a page in order.

    Args:
        page: The page.
        folder: Where the first terminal is opened.
        notes: A folder for the checker's own files.
        environment: What each terminal begins with.

    Yields:
        A line for each block, when it is done.

    Raises:
        PageWrong: A block did not end, or did not print, as the page says.
    """
    terminals: dict[str, Terminal] = {}
    with ExitStack() as open_terminals:

        def opened(name: str, where: Path) -> Terminal:
            # The ones opened last are closed first: what they run needs what the earlier ones run.
            return open_terminals.enter_context(Terminal(where, notes / (name or "first"), environment))

        terminals[""] = opened("", folder)
        for commands in commands_of(page):
            place = f"{page.name}:{commands.line}"
            if commands.not_run:
                yield f"{place}: not run: {commands.not_run}"
                continue
            if commands.terminal not in terminals:
                terminals[commands.terminal] = opened(commands.terminal, terminals[""].folder)
            began = time.monotonic()
            _do(commands, terminals[commands.terminal], place)
            yield f"{place}: {time.monotonic() - began:.1f} s"


def _do(commands: Commands, terminal: Terminal, place: str) -> None:
    end = time.monotonic() + SECONDS
    if commands.terminal:
        terminal.type(commands.text)
        while not _is_done(commands, ended := terminal.look()) and time.monotonic() < end:
            time.sleep(0.1)
    else:
        ended = terminal.run(_guarded(commands), seconds=SECONDS)
        while commands.repeat and not matches(commands.output or "", ended.printed) and time.monotonic() < end:
            time.sleep(_AGAIN_SECONDS)
            ended = terminal.run(_guarded(commands), seconds=SECONDS)
    _judge(commands, ended, place)


def _is_done(commands: Commands, ended: Ended) -> bool:
    # In another terminal, commands may run on; then what they print tells that they are ready.
    return ended.code is not None or (commands.output is not None and matches(commands.output, ended.printed))


def _guarded(commands: Commands) -> str:
    if commands.repeat:
        # What fails now may do later; what it prints decides.
        return f"{{\n{commands.text}\n}} || true"
    if not commands.exit_code:
        return commands.text
    return f"code=0\n{{\n{commands.text}\n}} || code=$?\n[ $code = {commands.exit_code} ]"


def _judge(commands: Commands, ended: Ended, place: str) -> None:
    running_is_fine = bool(commands.terminal) and commands.output is not None
    if ended.code is None and not running_is_fine:
        raise PageWrong(f"{place}: it was not over after {SECONDS:.0f} s; it printed:\n{ended.printed}")
    if ended.code:
        raise PageWrong(f"{place}: it did not end as the page says; it printed:\n{ended.printed}")
    if commands.output is not None and not matches(commands.output, ended.printed):
        raise PageWrong(f"{place}: the page says\n{commands.output}\nbut it printed\n{ended.printed}")
