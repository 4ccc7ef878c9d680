"""Restored backups: whichever of the two databases is older, what was paid is loaded and not paid again unasked."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest
from prefect import get_client
from prefect.client.schemas.actions import VariableUpdate
from sqlalchemy import Engine, delete, make_url, select

from bouncer.accounts import state as account_state
from bouncer.accounts import upload_history
from bouncer.errors import Paused
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Account, Batch
from deployments.server.local_server import local_server
from deployments.settings import Settings
from deployments.setup.set_up import set_up
from flows.verify_batch import verify_batch
from tests.bouncer.contacts import claim
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, queue, statuses
from tests.deployments.running_commands import Started, clean_environment, run
from tests.flows.runs import ingested, until_it_holds
from tests.sandbox_process import SandboxHandle, running_sandbox


@on_sqlite
@pytest.mark.scenario
async def test_an_older_contacts_database_fetches_what_was_paid(
    set_up_account: SetUpAccount,
    sandbox: SandboxHandle,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backup from while batches were at Bouncer: they are polled and loaded again, and nothing is uploaded."""
    monkeypatch.setattr("bouncer.batches.ownership.STALE_SECONDS", 1)
    engine = await set_up_account(batch_size=30, max_concurrent_batches=2)
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 60})
    queue(engine, addresses(60))
    running = asyncio.create_task(ingested())

    @until_it_holds
    async def uploaded() -> None:
        assert len([id_ for id_ in read(engine, lambda c: list(c.scalars(select(Batch.bouncer_id)))) if id_]) == 2

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


def _mariadb(program: str, url: str, *options: str, **streams: object) -> None:
    at = make_url(url)
    command = [program, f"--host={at.host}", f"--port={at.port}", f"--user={at.username}", *options, str(at.database)]
    environment = {**os.environ, "MYSQL_PWD": str(at.password)}
    subprocess.run(command, env=environment, check=True, **streams)  # type: ignore[call-overload]  # files, or nothing


def _back_up(url: str, backup: Path) -> None:
    """Makes a backup as docs/backup.md says."""
    if not url.startswith("sqlite"):
        with backup.open("wb") as file:
            _mariadb("mariadb-dump", url, "--single-transaction", "--quick", stdout=file)
        return
    with sqlite3.connect(str(make_url(url).database)) as source, sqlite3.connect(backup) as target:
        source.backup(target)


def _restore(engine: Engine, url: str, backup: Path) -> None:
    engine.dispose()
    if url.startswith("sqlite"):
        _put_back(backup, Path(str(make_url(url).database)))
        return
    with backup.open("rb") as file:
        _mariadb("mariadb", url, stdin=file)


def _history(engine: Engine) -> str:
    return read(engine, upload_history.read_uploads, "default").history


async def _set_mark(history: str, uploads: int) -> None:
    async with get_client() as client:
        await client.update_variable(VariableUpdate(name=f"bouncer_uploads_{history}", value=uploads))


async def test_contacts_that_were_uploaded_after_the_backup_are_not_paid_again_unasked(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """They looked as if they had never been sent, and were paid a second time without a word."""
    engine = await set_up_account(batch_size=10)
    queue(engine, addresses(20))
    _back_up(database_url, tmp_path / "backup")
    assert (await ingested())[0].verified == 20
    for _ in range(2):
        # The second time it is put back, it is no newer than it was the first time.
        _restore(engine, database_url, tmp_path / "backup")
        with pytest.raises(Paused, match="the contacts database is older than uploads that were made from it"):
            await ingested()
        assert statuses(engine) == {"queued": 20}
        assert sandbox.ledger()["requests_by_operation"]["create"] == 2
    write(engine, account_state.resume, "default")
    # Somebody has looked, and wants it so.
    assert (await ingested())[0].verified == 20
    assert sandbox.ledger()["addresses_twice"] == 20


@on_sqlite
async def test_a_backup_from_before_the_first_setup_is_known_too(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """Made between import and setup it knew of no account, and was verified and paid for again without a word."""
    engine = await set_up_account(batch_size=10)
    queue(engine, addresses(20))
    with engine.begin() as connection:
        connection.execute(delete(Account))
    _back_up(database_url, tmp_path / "backup")
    assert (await ingested())[0].verified == 20
    _restore(engine, database_url, tmp_path / "backup")
    with pytest.raises(Paused, match="the contacts database is older than uploads that were made from it"):
        await ingested()
    assert sandbox.ledger()["requests_by_operation"]["create"] == 2


@on_sqlite
async def test_a_batch_of_the_backup_is_not_uploaded_by_its_own_run(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """A worker starts the runs that Prefect has planned, without an ingest before them."""
    engine = await set_up_account(batch_size=20)
    queue(engine, addresses(20))
    (batch,) = claim(engine).batches
    _back_up(database_url, tmp_path / "backup")
    assert (await ingested())[0].verified == 20
    _restore(engine, database_url, tmp_path / "backup")
    await verify_batch(batch.id)
    assert read(engine, account_state.read_state, "default").paused_reason == upload_history.OLDER_THAN_ITS_UPLOADS
    assert statuses(engine) == {"assigned": 20}
    assert sandbox.ledger()["requests_by_operation"]["create"] == 1


@on_sqlite
async def test_an_older_prefect_database_pauses_nothing(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """What Prefect remembers of uploads is less than the contacts database knows, which is all that counts."""
    engine = await set_up_account(batch_size=10)
    queue(engine, addresses(20))
    assert (await ingested())[0].verified == 20
    await _set_mark(_history(engine), 1)
    queue(engine, addresses(10, prefix="later"), request=2)
    assert (await ingested())[0].outcome == "drained"
    assert_verified_once(engine, sandbox, contacts=30)


@on_sqlite
async def test_where_both_are_older_nothing_can_be_known(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """Restored together they agree: what was uploaded since is paid again, as docs/backup.md says."""
    engine = await set_up_account(batch_size=10)
    queue(engine, addresses(10))
    assert (await ingested())[0].verified == 10
    queue(engine, addresses(10, prefix="later"), request=2)
    _back_up(database_url, tmp_path / "backup")
    assert (await ingested())[0].verified == 10
    _restore(engine, database_url, tmp_path / "backup")
    await _set_mark(_history(engine), 1)
    assert (await ingested())[0].outcome == "drained"
    assert sandbox.ledger()["addresses_twice"] == 10


@on_sqlite
async def test_an_empty_database_on_an_old_prefect_server_is_no_backup(
    set_up_account: SetUpAccount, database_url: str, tmp_path: Path
) -> None:
    """Another database has a history of its own, whatever was uploaded from others."""
    engine = await set_up_account(batch_size=10)
    queue(engine, addresses(20))
    assert (await ingested())[0].verified == 20
    old = _history(engine)
    engine.dispose()
    for left in Path(str(make_url(database_url).database)).parent.glob("contacts.sqlite*"):
        left.unlink()
    await set_up(Settings())
    queue(engine, addresses(10, prefix="new"))
    assert (await ingested())[0].verified == 10
    assert _history(engine) != old


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
