"""``bouncer-flows demo``: a realistic sample from CSV to verdicts, on embedded defaults or on real services."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from pydantic import SecretStr
from sqlalchemy import Engine

from bouncer.api.base_url import stays_here
from bouncer.errors import BouncerUnavailable, InputRefused
from bouncer.files.exporting import export_results
from bouncer.files.importing import import_contacts
from bouncer.files.private_folders import private_folder
from bouncer.installation import here
from bouncer.plurals import counted
from bouncer.storage.engine import engine_for, probe
from bouncer.storage.migrate import upgrade
from deployments.protection.working_folder import python_module, working_folder
from deployments.server.orchestration import orchestrator
from deployments.settings import Settings, read_settings, without_secrets
from deployments.terminal.console import say, tell
from deployments.terminal.display import byte_progress, row_progress
from sandbox.sample import write_sample

__all__ = ["run_demo"]

_SAMPLE, _DATABASE = "contacts.csv", "contacts.db"
# Batches of 10,000 run one after another, as at Bouncer, each for 4 s.
_SPEED = ("--seconds-per-batch=2", "--addresses-per-second=5000")


def run_demo(contacts: int, folder: Path) -> int:
    """Imports a sample, verifies it and exports the verdicts.

    What DATABASE_URL, BOUNCER_API_KEY and BOUNCER_API_BASE_URL name is used; the rest is embedded: SQLite, the
    sandbox, a local Prefect server. With a key, and an API that is not on this machine, the sample is made of Bouncer's
    sandbox addresses, which are free. Where anything is embedded, the Prefect server is too: blocks of a demo on one
    that others use would send their contacts to the sandbox.

    Args:
        contacts: Contacts in the sample.
        folder: Where the sample, the results and the embedded servers' files go.

    Returns:
        The exit code of ``ingest``.

    Raises:
        InputRefused: The folder is a link, or holds contacts that are no demo's.
    """
    given = read_settings()
    folder = folder.absolute()
    _refuse_folder_of_others(folder, is_emptied=given.database_url is None)
    folder = private_folder(folder)
    is_embedded = given.database_url is None or given.api_key is None
    database = given.database_url or SecretStr(f"sqlite:///{folder / _DATABASE}")
    # On a server of its own every setting, the defaults too, so that nothing of an earlier demo stays in the blocks.
    all_of_them = dict(given) if is_embedded else {}
    settings = given.model_copy(
        update={**all_of_them, "bouncer_flows_home": folder, "database_url": database},
    )
    sample, results = folder / _SAMPLE, folder / "results.csv"
    # Whoever answers elsewhere may hand it on to Bouncer, as a company's proxy does, and then it costs money.
    may_cost = given.api_key is not None and not stays_here(given.base_url)
    write_sample(sample, contacts, free=may_cost)
    say(f"a sample of {counted(contacts, 'contact')} is in {sample}")
    if given.database_url is None:
        for left in folder.glob(f"{_DATABASE}*"):
            left.unlink()
    own_bouncer: AbstractContextManager[Settings] = nullcontext(settings)
    if given.api_key is None:
        own_bouncer = _with_sandbox(settings, given.model_fields_set)
    with own_bouncer as settings, orchestrator(settings, modules=["deployments.running"], local=is_embedded) as ui:
        from deployments.running import run_ingest
        from deployments.terminal.reporting import print_summary

        engine = engine_for(settings.url)
        probe(engine)
        upgrade(engine)
        asyncio.run(_set_up(settings, engine, is_embedded=is_embedded, has_key=given.api_key is not None))
        with byte_progress("importing", sample, quiet=False) as advance:
            name = f"demo {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
            report = import_contacts(engine, sample, request_name=name, progress=advance)
        queued, duplicates = counted(report.queued, "contact"), counted(report.duplicates, "duplicate")
        say(f"{queued} queued, {duplicates}, {report.rejected:,} rejected")
        summary = run_ingest(settings, request_id=report.request_id, ui=ui, quiet=False)
        with row_progress("exporting") as rows:
            export_results(engine, results, request_id=report.request_id, progress=rows)
        print_summary(summary)
        tell(f"results: {results}")
        tell(f"Prefect UI: {ui or os.environ['PREFECT_API_URL'].removesuffix('/api')}")
        if ui is not None and sys.stdin.isatty():
            say("Look around; Enter ends it.")
            input()
        elif ui is not None:
            say("The UI stops with this command. It can be looked at again with:")
            say(f"BOUNCER_FLOWS_HOME={folder} bouncer-flows serve")
    if summary.outcome != "drained":
        return 2
    return 1 if summary.failed else 0


def _refuse_folder_of_others(folder: Path, *, is_emptied: bool) -> None:
    # In the folder one stands in, anybody may have laid a link to the home, whose contacts a demo would delete.
    if folder.is_symlink():
        raise InputRefused(f"{folder} is a link; name the folder that the demo may fill with --folder")
    if is_emptied and (folder / _DATABASE).exists() and not (folder / _SAMPLE).exists():
        raise InputRefused(f"{folder} holds contacts that are no demo's; name another folder with --folder")


async def _set_up(settings: Settings, engine: Engine, *, is_embedded: bool, has_key: bool) -> None:
    from blocks.bouncer_account import BouncerAccount
    from deployments.setup.key_check import refuse_wrong_key
    from deployments.setup.set_up import set_up, set_up_the_rest

    # An embedded server is this folder's alone, and the sandbox answers elsewhere each time.
    for change in await (set_up(settings) if is_embedded else set_up_the_rest(settings)):
        say(change)
    if not has_key:
        return
    # Or a wrong key would leave the sample in somebody's queue, and the next ingest would send it.
    account = cast("BouncerAccount", await BouncerAccount.aload(here().account_block("default")))
    await refuse_wrong_key(account, engine, "default")


@contextmanager
def _with_sandbox(settings: Settings, given: Set[str]) -> Iterator[Settings]:
    command = [*python_module("sandbox"), "--port", "0", "--until-input-ends", *_SPEED]
    environment = without_secrets(os.environ)
    with subprocess.Popen(  # noqa: S603  # our own interpreter and constants
        command,
        stdout=subprocess.PIPE,
        # Closed when this process is gone, even by kill -9, which ends the sandbox.
        stdin=subprocess.PIPE,
        env=environment,
        cwd=working_folder(settings.bouncer_flows_home),
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else b""
            if not line:
                raise BouncerUnavailable("the sandbox does not start")
            say("the sandbox stands in for Bouncer")
            # The sandbox is faster than Bouncer, so it is asked more often.
            quick = {"poll_seconds_min": 2, "poll_seconds_max": 5}
            yield settings.model_copy(
                update={
                    "api_key": SecretStr("sandbox-key"),
                    "base_url": json.loads(line)["url"],
                    **{name: value for name, value in quick.items() if name not in given},
                }
            )
        finally:
            process.terminate()
