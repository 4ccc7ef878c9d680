"""The options --dry-run: what a list or the queue would cost, before anything is changed or sent."""

import os
from pathlib import Path

from sqlalchemy import inspect

from bouncer.files.importing import import_contacts
from bouncer.storage.engine import engine_for
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, statuses
from tests.deployments.running_commands import run
from tests.sandbox_process import SandboxHandle


def _csv(folder: Path, emails: list[str]) -> Path:
    path = folder / "leads.csv"
    path.write_text("\n".join(["email", *emails]) + "\n")
    return path


def _rejected_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.rejected.csv"))


@on_sqlite
async def test_both_dry_runs_tell_and_change_nothing(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """A list is forecast before it is imported, the queue before it is ingested; neither queues or sends anything."""
    engine = await set_up_account()
    import_contacts(engine, _csv(tmp_path, addresses(20)), request_name="waiting")
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "80"}
    file = _csv(tmp_path, [*addresses(25), "nonsense"])
    imported = run(["import", str(file), "--dry-run", "--json"], environment)
    assert imported.code == 0, imported.err
    told = imported.answer
    assert (told["contacts"], told["invalid"], told["shared"], told["to_pay"]) == (26, 1, 20, 5)
    ingested = run(["ingest", "--dry-run"], environment)
    assert ingested.code == 0, ingested.err
    assert ingested.out.splitlines()[0].startswith("20 of 20 contacts would be paid for: about 20 credits, 0.16 USD")
    assert "gmail.com" in ingested.out
    assert max(map(len, ingested.out.splitlines())) <= 80
    assert statuses(engine) == {"queued": 20}
    assert sandbox.ledger()["requests"] == 0
    assert not _rejected_files(tmp_path)


@on_sqlite
async def test_a_list_can_be_forecast_before_there_are_tables(set_up_account: SetUpAccount, tmp_path: Path) -> None:
    """A database without tables stays without, and one that does not exist is not made."""
    await set_up_account()
    home = tmp_path / "home"
    home.mkdir()
    file = _csv(tmp_path, addresses(10))
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    engine_for(empty).connect().close()
    typo = f"sqlite:///{home / 'typo.db'}"
    for settings in ({"DATABASE_URL": empty}, {"DATABASE_URL": typo}, {"BOUNCER_FLOWS_HOME": str(home)}):
        told = run(["import", str(file), "--dry-run", "--json"], {**environment, **settings})
        assert told.code == 0, told.err
        assert (told.answer["to_pay"], told.answer["credits_at_hand"]) == (10, None)
    assert inspect(engine_for(empty)).get_table_names() == []
    assert list(home.glob("*.db")) == []
