"""The command ledger: on the terminal, as JSON, and as a file."""

import os
from pathlib import Path

import pytest

from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from tests.deployments.running_commands import run


@pytest.mark.thorough
def test_an_empty_ledger_is_told_in_every_form(tmp_path: Path) -> None:
    """Before anything was paid for, the table, the object and the file are there and say so."""
    url = f"sqlite:///{tmp_path / 'contacts.db'}"
    upgrade(engine_for(url))
    environment = {**os.environ, "DATABASE_URL": url, "COLUMNS": "80"}
    told = run(["ledger", "--json", "--month", "2026-05"], environment)
    assert (told.code, told.answer["month"], told.answer["total"]["charged"]) == (0, "2026-05", 0)
    file = tmp_path / "ledger.csv"
    written = run(["ledger", str(file)], environment)
    assert (written.code, written.out) == (0, ""), written.err
    assert file.read_text().startswith("completed_at,user_id,")
    refused = run(["ledger", "--month", "May"], environment)
    assert refused.complaint == "May is not a month; write it as 2026-05"
