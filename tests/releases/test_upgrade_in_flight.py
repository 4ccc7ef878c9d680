"""An upgrade in the middle of the work: what an older version had under way is finished, nothing is bought twice."""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import Connection, text

from bouncer.storage.dialects import database_now
from bouncer.storage.engine import engine_for
from tests.conftest import SetUpAccount
from tests.contacts import statuses
from tests.flows.runs import ingested
from tests.releases.test_upgrades import restore_release
from tests.sandbox_process import SandboxHandle

_HOURS_AGO = {"uploaded_ts": 5, "progress_ts": 5}
_IN_FLIGHT = {
    "finished": {**_HOURS_AGO, "finish_requested_ts": 0, "processed": 1},
    "running": {**_HOURS_AGO, "progress_ts": 0, "processed": 1},
    "queued": _HOURS_AGO,
    # Its program took the refusal, which comes with HTTP 200, for a grant.
    "refused": {**_HOURS_AGO, "finish_requested_ts": 4},
}
"""What the row of each batch at Bouncer says; moments in hours before now."""


@pytest.mark.scenario
@pytest.mark.parametrize("database_url", ["sqlite", "mariadb"], indirect=True)
async def test_a_plain_ingest_finishes_what_an_older_version_had_in_flight(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str
) -> None:
    """Queued and running batches, one that was finished early, a refused finish and a lost answer, all hours old."""
    restore_release("0.1.0", database_url)
    old = engine_for(database_url)
    with old.begin() as connection:
        # Until 0.1.0 is released its revision may grow; without the stamp, all its steps look for what is missing.
        connection.execute(text("DELETE FROM bouncer_schema_version"))
        connection.execute(text("UPDATE Bouncer_Batches SET status = 'failed' WHERE id = 3"))
        connection.execute(text("UPDATE Bouncer_Queue SET status = 'failed', error_message = 'x' WHERE batch_id = 3"))
        for number, (kind, columns) in enumerate(_IN_FLIGHT.items()):
            sandbox.post("/_sandbox/settings", {"fixed_seconds": 60 if kind == "finished" else 0.5})
            emails = [f"{kind}.{contact}@example.com" for contact in range(20)]
            bouncer_id = _upload(sandbox, emails)
            if kind == "finished":
                _finish(sandbox, bouncer_id)
            _insert(connection, 100 + number, bouncer_id, emails, columns)
    old.dispose()

    engine = await set_up_account(bouncer_api_key=sandbox.key)
    with engine.connect() as connection:
        finishes = "SELECT id, finish_refused_ts IS NOT NULL FROM Bouncer_Batches WHERE finish_requested_ts IS NOT NULL"
        assert connection.execute(text(finishes)).all() == [(100, 0)]
        refused = "SELECT id FROM Bouncer_Batches WHERE finish_refused_ts IS NOT NULL"
        assert connection.scalars(text(refused)).all() == [103]

    summary, _ = await ingested()

    assert summary.left == 0
    # Three of the old version's contacts were settled and six had failed.
    assert statuses(engine) == {"completed": 3 + 20 * len(_IN_FLIGHT) + 6, "failed": 6}
    ledger = sandbox.ledger()
    assert ledger["addresses_charged_twice"] == 0
    with engine.connect() as connection:
        maybe_twice = connection.scalar(text("SELECT SUM(ambiguous_uploads) FROM Bouncer_Batches"))
    assert maybe_twice == 1
    # Beside those of before: one for the lost answer, one for what waited, one for the rest of the finished batch.
    assert ledger["batches"] == len(_IN_FLIGHT) + 3


def _upload(sandbox: SandboxHandle, emails: list[str]) -> str:
    body = [{"email": email} for email in emails]
    answer = httpx.post(f"{sandbox.url}/email/verify/batch", json=body, headers={"x-api-key": sandbox.key})
    return str(answer.raise_for_status().json()["batchId"])


def _finish(sandbox: SandboxHandle, bouncer_id: str) -> None:
    while next(batch for batch in sandbox.batches() if batch["id"] == bouncer_id)["status"] != "processing":
        pass
    url = f"{sandbox.url}/email/verify/batch/{bouncer_id}/finish"
    assert httpx.post(url, headers={"x-api-key": sandbox.key}).status_code == 202


def _insert(connection: Connection, number: int, bouncer_id: str, emails: list[str], columns: dict[str, int]) -> None:
    now = database_now(connection)
    values = {
        "id": number,
        "batch_id": bouncer_id,
        "user_id": 3,
        "request_id": 3,
        "status": "processing",
        "quantity": len(emails),
        "upload_begun_ts": now - timedelta(hours=5),
        **{name: now - timedelta(hours=value) if name.endswith("_ts") else value for name, value in columns.items()},
    }
    _put(connection, "Bouncer_Batches", values)
    for place, email in enumerate(emails):
        id_ = 1_000 * number + place
        _put(connection, "Contacts_Global", {"global_id": id_, "email": email})
        row = {"queue_id": id_, "global_id": id_, "user_id": 3, "request_id": 3, "batch_id": number, "priority": 50}
        _put(connection, "Bouncer_Queue", {**row, "status": "assigned", "assigned_ts": now})


def _put(connection: Connection, table: str, values: dict[str, object]) -> None:
    names = ", ".join(values)
    connection.execute(
        text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values
    )
