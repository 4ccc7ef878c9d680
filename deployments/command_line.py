"""The command ``bouncer-flows``: data on standard output, everything else on standard error, one line an error.

A command's module is imported when the command is called, and what it works with inside its function: Prefect takes
two seconds, and it reads its settings once, when it is first imported, which must be after the local server is up.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from cyclopts import App, CycloptsError

from bouncer.errors import BouncerFlowsError, InputRefused
from bouncer.process_end import end_at_once
from deployments.protection.process_privacy import leave_nothing_to_others
from deployments.server.garbage_collection import collect_seldom
from deployments.server.memory import give_back_freed_memory
from deployments.terminal.console import console, ready_outputs, say
from deployments.terminal.exit_codes import ExitCode
from deployments.this_version import this_version

__all__ = ["app", "main"]

_NOT_LET_IN = {401, 403}


app = App(
    name="bouncer-flows",
    help="Verifies contacts through Bouncer's batch API: nothing lost, nothing paid twice.",
    version=this_version,
    version_flags=["--version"],
    console=console(),
)
_FUNCTIONS = {
    "setup": "installing.setup:setup",
    "deploy": "installing.deploy:deploy",
    "uninstall": "installing.uninstall:uninstall",
    "move": "installing.move:move",
    "completion": "installing.completion:completion",
    "verify": "verifying.verify:verify",
    "import": "verifying.import_contacts:import_contacts",
    "ingest": "verifying.ingest:ingest",
    "verify-risky": "verifying.verify_risky:verify_risky",
    "demo": "verifying.demo:demo",
    "status": "looking.status:status",
    "requests": "looking.requests:requests",
    "export": "looking.export:export",
    "ledger": "looking.ledger:ledger",
    "probe": "looking.probe:probe",
    "requeue": "steering.requeue:requeue",
    "reverify": "steering.reverify:reverify",
    "cancel": "steering.cancel:cancel",
    "erase": "steering.erase:erase",
    "pause": "steering.pause:pause",
    "resume": "steering.resume:resume",
    "serve": "serving.serve:serve",
    "watch": "serving.watch:watch",
    "metrics": "serving.metrics:metrics",
    "callbacks": "serving.callbacks:callbacks",
    "sandbox": "serving.sandbox:sandbox",
}
for _command, _function in _FUNCTIONS.items():
    app.command(f"deployments.commands.{_function}", name=_command)


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    ready_outputs()
    leave_nothing_to_others()
    give_back_freed_memory()
    collect_seldom()
    end_at_once()
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: Sequence[str]) -> int:
    try:
        _refuse_other_encodings(arguments)
        if not any(argument in _FUNCTIONS for argument in arguments):
            # What is shown is the list of commands, with the first line of each.
            app.resolved_commands()
        code = app(arguments, exit_on_error=False, print_error=False)
        # Now, while it can be told that the disk is full; at the interpreter's own end it cannot.
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough; there is nobody to tell.
        _give_up(sys.stdout)
    except KeyboardInterrupt:
        _complain("interrupted; run the same command again to go on")
        return ExitCode.INTERRUPTED
    except Exception as error:
        message = _in_one_line(error)
        if message is None:
            raise
        if isinstance(error, OSError):
            # Or the interpreter would try again at its end, and tell of it in words of its own.
            _give_up(sys.stdout)
        _complain(message)
    else:
        return int(code or ExitCode.FINE)
    return ExitCode.COULD_NOT_RUN


def _refuse_other_encodings(arguments: Sequence[str]) -> None:
    # Neither a database nor JSON can hold them, and names of files become names of requests.
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(argument).decode(errors="backslashreplace")
            raise InputRefused(f"{shown} is not valid UTF-8; write it, or name the file, otherwise") from None


def _in_one_line(error: Exception) -> str | None:
    if isinstance(error, CycloptsError):
        return f"{error}; bouncer-flows --help lists the commands"
    if isinstance(error, BouncerFlowsError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        # The files that a command is given have become errors of our own too; this is a full disk, most likely.
        return (
            f"{error.filename or 'the output'} cannot be written ({error.strerror}); "
            "see to that, then run the same command again"
        )
    from httpx import HTTPError
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, DBAPIError):
        # Only the driver's words: SQLAlchemy's text holds the statement.
        words = error.orig.args[-1] if error.orig is not None and error.orig.args else "it gave no reason"
        return (
            f"the database refused: {words}; bouncer-flows setup --check tells whether its tables are as they should be"
        )
    if isinstance(error, HTTPError):
        # Bouncer's have become errors of our own before this; what is left is Prefect's server.
        return _of_server(error)
    return None


def _of_server(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _NOT_LET_IN:
        return (
            f"the Prefect server answers {status}: set PREFECT_API_AUTH_STRING=USER:PASSWORD for a "
            "server with a password, or PREFECT_API_KEY for Prefect Cloud"
        )
    return (
        f"the Prefect server does not answer as it should ({type(error).__name__}); "
        "see whether it runs, and check its address, PREFECT_API_URL"
    )


def _complain(message: str) -> None:
    try:
        say(f"bouncer-flows: {message}")
    except OSError:
        _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
