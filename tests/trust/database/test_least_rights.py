"""The database users of docs/security.md can do their work, and nothing more is needed."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import State
from sqlalchemy import Engine, func, select, update
from sqlalchemy.exc import DBAPIError

from bouncer.accounts import state as account_state
from bouncer.erasure.erasing import erase_person
from bouncer.errors import SettingRefused
from bouncer.files.exporting import export_results
from bouncer.files.importing import import_contacts
from bouncer.monitoring.status import count_everything
from bouncer.queue.ingest_summary import IngestSummary
from bouncer.requests import requeueing
from bouncer.storage.engine import engine_for, read, write
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Batch, Contact
from bouncer.upkeep.move_database import move
from flows.check_health import check_health
from flows.costs.forecast import forecast
from flows.costs.report_costs import report_costs
from flows.housekeeping import housekeeping
from flows.requests.cancel import cancel
from flows.requests.export_request import export_request
from flows.requeue import requeue
from flows.reverify import reverify
from flows.verify_risky import verify_risky
from tests.contacts import addresses, queue
from tests.database_server import DatabaseServer
from tests.deployments.running_commands import run
from tests.flows.runs import ingested
from tests.prefect_server import set_up_afresh
from tests.sandbox_process import SandboxHandle
from tests.trust.database.granting import Granting


@pytest.fixture
def rights(server: DatabaseServer, server_url: str) -> Granting:
    """An empty database."""
    return Granting(server, server_url)


def _assert_may_not_change_tables(engine: Engine) -> None:
    for statement in (
        "CREATE TABLE another (id INT)",
        "ALTER TABLE Bouncer_Batches ADD COLUMN another INT",
        "DROP TABLE Bouncer_Health_Metrics",
    ):
        with engine.connect() as connection, pytest.raises(DBAPIError, match="denied"):
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.usefixtures("prefect_server")
async def test_a_user_without_rights_on_tables_does_all_daily_work(
    rights: Granting, sandbox: SandboxHandle, tmp_path: Path, narrow: bool
) -> None:
    """After setup by one user, another imports, verifies, exports, requeues, pauses and keeps house."""
    account = {"bouncer_api_key": sandbox.key, "bouncer_api_base_url": sandbox.url}
    quick = {"poll_seconds_min": 0.1, "poll_seconds_max": 0.3, "rate_limit_per_minute": 6000, "batch_size": 40}
    await set_up_afresh(rights.grant("setup"), **account, **quick)
    url = rights.grant("narrow" if narrow else "run")
    engine = await set_up_afresh(url, **account, **quick)
    _assert_may_not_change_tables(engine)

    file = tmp_path / "contacts.csv"
    file.write_text("\n".join(["email", *addresses(100), "no address"]) + "\n")
    assert import_contacts(engine, file).queued == 100
    sandbox.fault("lost_answer", operation="create")
    sandbox.fault("status", operation="create", code=400, times=2)
    summary, _ = await ingested()
    assert (summary.outcome, summary.verified) == ("drained", 100)
    sandbox.post("/_sandbox/reset")
    again = tmp_path / "again.csv"
    again.write_text("\n".join(["email", *addresses(20, prefix="another")]) + "\n")
    import_contacts(engine, again)
    assert (await ingested())[0].verified == 20
    assert_rows(engine, 120)
    assert export_results(engine, tmp_path / "results.csv").rows == 120
    assert write(engine, account_state.pause, "default", by="me", reason="to see")
    assert write(engine, account_state.resume, "default")
    requeueing.requeue(engine, held=True)
    await housekeeping()
    if not narrow:
        told = run(["status", "--json"], {**os.environ, "DATABASE_URL": url})
        assert told.code == 0, told.err


@pytest.mark.usefixtures("prefect_server")
async def test_the_narrow_user_does_all_that_is_done_now_and_then(
    rights: Granting, sandbox: SandboxHandle, tmp_path: Path
) -> None:
    """Moving in, real time, the deep pass, forecasts, cancelling, looking again, reports, requeueing, the alerts."""
    deep = "sandbox-deep-key"
    account = {"bouncer_api_key": sandbox.key, "deep_bouncer_api_key": deep, "bouncer_api_base_url": sandbox.url}
    quick = {"poll_seconds_min": 0.1, "poll_seconds_max": 0.3, "rate_limit_per_minute": 6000, "batch_size": 200}
    new = engine_for(rights.grant("setup"))
    upgrade(new)
    new.dispose()
    url = rights.grant("narrow")

    old = engine_for(f"sqlite:///{tmp_path / 'contacts.db'}")
    upgrade(old)
    queue(old, [f"someone{number}@company{number % 40}.com" for number in range(200)])
    assert move(tmp_path / "contacts.db", engine_for(url)).rows["Bouncer_Queue"] == 200

    engine = await set_up_afresh(url, **account, **quick, realtime_max_addresses=10)
    assert (await forecast()).contacts == 200
    assert (await ingested())[0].verified == 200
    risky: State[IngestSummary] = await verify_risky(1, return_state=True)
    assert (await risky.aresult()).verified > 0
    queue(engine, addresses(5, prefix="urgent"), request=12)
    assert (await ingested())[0].verified == 5
    assert read(engine, lambda c: c.scalar(select(func.count()).where(Batch.realtime, Batch.request_id == 12))) == 1
    with engine.begin() as connection:
        connection.execute(update(Contact).values(bouncer_verified_ts=datetime(2020, 1, 1, tzinfo=UTC)))
    assert (await reverify(monthly_budget=50)).contacts == 50
    queue(engine, addresses(30, prefix="unwanted"), request=30)
    assert (await cancel(30)).withdrawn == 30
    assert (await requeue(request_id=30)).contacts == 30
    await export_request(1, str(tmp_path / "exports"))
    assert (tmp_path / "exports" / "request-1.csv").exists()
    assert (await report_costs(f"{datetime.now(UTC):%Y-%m}", tmp_path)).total.charged
    assert (await check_health(return_state=True)).is_completed()
    assert (await ingested())[0].outcome == "drained"
    assert erase_person(engine, addresses(1, prefix="urgent")[0], exports=[]).contacts == 1
    assert (await housekeeping(return_state=True)).is_completed()


def assert_rows(engine: Engine, verified: int) -> None:
    """So many contacts have a verdict, and none is left."""
    report = read(engine, count_everything)
    assert (report.contacts.completed, report.contacts.queued, report.contacts.assigned) == (verified, 0, 0)


def test_without_the_rights_to_make_tables_setup_says_which_are_needed(rights: Granting) -> None:
    """On an empty database the daily user is told what to grant, in one line."""
    engine = engine_for(rights.grant("run"))
    with pytest.raises(SettingRefused, match="grant its user CREATE, ALTER, INDEX and REFERENCES"):
        upgrade(engine)
    engine.dispose()
