"""The command erase: a person leaves tables, runs and Bouncer, and nothing of it says the address."""

import os
from pathlib import Path

import pytest
from prefect import get_client

from bouncer.installation import here
from bouncer.storage.tables import Base
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses
from tests.deployments.running_commands import run
from tests.sandbox_process import SandboxHandle

ANN = "ann.marked@example.com"


@pytest.mark.scenario
@on_sqlite
async def test_a_letter_is_answered_by_one_command(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """Asked for, shown and confirmed: tables, rejected lines, and the batch at Bouncer."""
    engine = await set_up_account()
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"}
    file = tmp_path / "people.csv"
    file.write_text("\n".join(["email", ANN, *addresses(5), f"{ANN} or {ANN}.uk"]) + "\n")
    verified = run(["verify", str(file), "--user", ANN, "--yes"], environment)
    assert verified.code == 0, verified.err

    looked = run(["erase", "--email", ANN.upper(), "--dry-run", "--json"], environment)
    assert (looked.code, looked.answer["contacts"], looked.answer["users"]) == (0, 1, 1), looked.err
    refused = run(["erase", "--email", ANN], environment)
    assert refused.code == 2
    assert "--yes" in refused.complaint

    async with get_client() as client:
        flow = await client.create_flow_from_name("verify-list")
        written = await client.create_deployment(flow, "her list", parameters={"note": f"for {ANN}"}, tags=[here().tag])
    erased = run(["erase", "--email", ANN, "--yes", "--json"], environment)
    async with get_client() as client:
        await client.delete_deployment(written)
    assert erased.code == 0, erased.err
    assert "the parameters of deployment her list, which a person has set" in erased.answer["not_reached"]
    assert (erased.answer["contacts"], erased.answer["batches_deleted"]) == (1, 1)
    assert erased.answer["files"] == [str(tmp_path / "people.rejected.csv")]
    assert any("people.verified.csv" in place for place in erased.answer["not_reached"])
    assert ANN not in erased.out + erased.err
    assert [batch["status"] for batch in sandbox.batches()] == ["deleted"]
    with engine.connect() as connection:
        assert ANN not in repr([connection.execute(table.select()).all() for table in Base.metadata.sorted_tables])
    async with get_client() as client:
        assert ANN not in repr([run.parameters for run in await client.read_flow_runs()])

    whole = run(["erase", "--request", "people.csv", "--yes"], environment)
    assert whole.code == 0, whole.err
    assert "5 contacts" in whole.out
    ledger = run(["ledger", "--json"], environment)
    assert ledger.answer["total"]["charged"] == 6
