"""Erases a person, or a request."""

import asyncio
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bouncer.errors import InputRefused
from bouncer.plurals import counted
from deployments.commands.caller import caller
from deployments.commands.contacts import open_contacts, request_number
from deployments.commands.output import print_json
from deployments.commands.parameters import AsJson, RequestToErase
from deployments.terminal.console import agreed, say, tell
from deployments.terminal.exit_codes import ExitCode

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bouncer.erasure.erasing import Erased
    from deployments.settings import Settings

__all__ = ["erase"]


def erase(
    *,
    email: Annotated[
        str | None,
        Parameter(
            help="The person's address; - reads it from standard input, so that no history keeps it.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    request: RequestToErase = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: AsJson = False,
) -> int:
    """Erases a person or a request everywhere: tables, files, runs, and at Bouncer; says what it cannot reach.

    Args:
        yes: Do so without asking.
        dry_run: Only report what would change.
    """
    from deployments.known_database import refuse_no_database
    from deployments.settings import read_settings

    if (email is None) == (request is None):
        raise InputRefused("say who or what is to be erased: --email ADDRESS or --request NAME")
    settings = read_settings()
    # Of an empty one that was made only now it would say that nobody is in it.
    refuse_no_database(settings)
    engine = open_contacts(settings)
    address = sys.stdin.readline().strip() if email == "-" else email
    number = request_number(request, engine)
    report = _in_the_database(settings, engine, address, number, dry_run=True)
    if not dry_run:
        if sys.stdin.isatty() and not yes:
            _tell(report, engine)
        if not agreed(["Erase this? It cannot be undone."], yes=yes):
            raise InputRefused("nothing is erased without --yes")
        report = _everywhere(settings, engine, address, number)
    if json:
        print_json(report)
    else:
        _tell(report, engine)
    return ExitCode.FINE


def _everywhere(settings: "Settings", engine: "Engine", address: str | None, number: int | None) -> "Erased":
    from bouncer.erasure.addresses import Wanted
    from bouncer.erasure.erasing import named
    from bouncer.files.private_folders import forget_temporary_folders
    from deployments.protection.process_privacy import own_temporary_folder
    from deployments.server.orchestration import orchestrator

    with orchestrator(settings):
        from deployments.erasing import (
            delete_batches_at_bouncer,
            forget_runs_of_person,
            forget_runs_of_request,
            left_at_prefect,
        )

        left: list[str] = []
        # First what is found by the name, which goes with the request.
        if number is None:
            wanted = Wanted.of(address or "")
            runs = asyncio.run(forget_runs_of_person(wanted))
            left = asyncio.run(left_at_prefect(wanted))
        else:
            runs = asyncio.run(forget_runs_of_request(*named(engine, number)))
        report = _in_the_database(settings, engine, address, number, dry_run=False)
        for folder in (Path(tempfile.gettempdir()), own_temporary_folder(settings.bouncer_flows_home)):
            forget_temporary_folders(folder)
        deleted = asyncio.run(delete_batches_at_bouncer())
    return replace(report, flow_runs=runs, batches_deleted=deleted, not_reached=(*left, *report.not_reached))


def _in_the_database(
    settings: "Settings", engine: "Engine", address: str | None, number: int | None, *, dry_run: bool
) -> "Erased":
    from bouncer.erasure.erasing import erase_person, erase_request

    exports = list(
        dict.fromkeys([settings.bouncer_flows_home / "exports", Path("~/.bouncer-flows/exports").expanduser()])
    )
    if number is None:
        return erase_person(engine, address or "", exports=exports, dry_run=dry_run)
    return erase_request(engine, number, by=caller(), exports=exports, dry_run=dry_run)


def _tell(report: "Erased", engine: "Engine") -> None:
    did = "would be " if report.dry_run else ""
    counts = [
        counted(report.contacts, "contact"),
        counted(report.queue_rows, "row of the queue", "rows of the queue"),
        counted(report.results, "verdict"),
        counted(report.users, "address of a user", "addresses of users"),
        counted(report.texts, "text with the address", "texts with the address"),
        counted(report.flow_runs, "flow run"),
    ]
    found = ", ".join(each for each in counts if not each.startswith("0 "))
    where = "/".join(part for part in (engine.url.host, engine.url.database) if part)
    tell(f"erased{' would be' if report.dry_run else ''}: {found}" if found else f"{where} has nothing of it")
    if report.batches_undone:
        tell(f"{counted(report.batches_undone, 'unsent batch', 'unsent batches')} {did}undone; the others are requeued")
    if waiting := report.batches_at_bouncer + max(0, report.batches_to_delete - report.batches_deleted):
        tell(f"Bouncer {'would be' if report.dry_run else 'is'} asked to delete {counted(waiting, 'batch', 'batches')}")
    if report.batches_deleted:
        tell(f"Bouncer has deleted {counted(report.batches_deleted, 'batch', 'batches')}")
    for file in report.files:
        tell(f"erased from {file}")
    say("not reached:")
    for place in report.not_reached:
        say(f"  {place}")
