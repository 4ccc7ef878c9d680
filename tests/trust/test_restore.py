"""Restored backups: whichever of the two databases is older, what was paid is loaded and not paid again."""

import asyncio
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import make_url, select

from bouncer.database import read
from bouncer.tables import Batch
from deployments.local_server import local_server
from tests.bouncer.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.deployments.commands import Started, clean_environment, run
from tests.flows.runs import ingested, until_it_holds
from tests.sandbox_process import SandboxHandle, running_sandbox


@on_sqlite
async def test_an_older_contacts_database_fetches_what_was_paid(
    set_up_account: SetUpAccount,
    sandbox: SandboxHandle,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backup from while batches were at Bouncer: they are polled and loaded again, and nothing is uploaded."""
    monkeypatch.setattr("bouncer.batches.STALE_SECONDS", 1)
    engine = await set_up_account(batch_size=30, max_concurrent_batches=2)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 60})
    queue(engine, addresses(60))
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def uploaded() -> None:
        assert len([id_ for id_ in read(engine, lambda c: list(c.scalars(select(Batch.batch_id)))) if id_]) == 2

    await uploaded()
    file = Path(str(make_url(database_url).database))
    backup = tmp_path / "backup.db"
    with sqlite3.connect(file) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    for batch in sandbox.batches():
        sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")
    assert (await running)[0].verified == 60
    charged = sandbox.ledger()["addresses_charged"]

    engine.dispose()
    _put_back(backup, file)
    assert statuses(engine) == {"assigned": 60}
    again, _ = await ingested()
    assert (again.outcome, again.verified, again.possible_double_payments) == ("drained", 60, 0)
    assert_verified_once(engine, sandbox, contacts=60)
    ledger = sandbox.ledger()
    assert (ledger["requests_by_operation"]["create"], ledger["addresses_charged"]) == (2, charged)


def _put_back(backup: Path, file: Path) -> None:
    # The journals of the file are not the backup's.
    for left in file.parent.glob(f"{file.name}*"):
        left.unlink()
    shutil.copy(backup, file)


@pytest.mark.audit
@pytest.mark.timeout(900)
def test_an_older_prefect_database_starts_what_it_does_not_know(tmp_path: Path) -> None:
    """Prefect's backup is from before the contacts were queued, and its slots and runs are of that time."""
    home = tmp_path / "flows"
    with running_sandbox(fixed_seconds=60) as sandbox:
        environment = clean_environment(
            tmp_path,
            BOUNCER_API_KEY=sandbox.key,
            BOUNCER_API_BASE_URL=sandbox.url,
            BATCH_SIZE="30",
            MAX_CONCURRENT_BATCHES="2",
            POLL_SECONDS_MIN="0.2",
            POLL_SECONDS_MAX="0.5",
        )
        assert run(["setup"], environment).code == 0
        shutil.copytree(home / "prefect", tmp_path / "backup")
        contacts = tmp_path / "contacts.csv"
        contacts.write_text("\n".join(["email", *addresses(90)]) + "\n")
        assert run(["import", str(contacts)], environment).code == 0

        with local_server(home), Started(["ingest", "--json"], tmp_path, environment) as killed:

            @until_it_holds
            def uploaded() -> None:
                assert sandbox.ledger()["requests_by_operation"].get("create", 0) >= 2

            uploaded()
            killed.send(signal.SIGKILL)
            killed.wait(10)
        shutil.rmtree(home / "prefect")
        shutil.copytree(tmp_path / "backup", home / "prefect")
        sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.3})
        for batch in sandbox.batches():
            sandbox.post(f"/_sandbox/batches/{batch['id']}/complete")

        done = run(["ingest", "--json"], environment, seconds=170)
        assert done.code == 0, done.err
        assert (done.answer["outcome"], done.answer["left"]) == ("drained", 0)
        ledger = sandbox.ledger()
        assert ledger["addresses_charged_twice"] <= done.answer["possible_double_payments"]
        assert ledger["most_in_flight"] <= 2
