"""Commands ask a person at a terminal, and say what to do without one."""

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bouncer.files.importing import import_contacts
from bouncer.requests.counting import count_contacts
from bouncer.requests.progress import complete
from bouncer.storage.engine import engine_for, read, write
from bouncer.storage.migrate import upgrade
from tests.bouncer.contacts import claim, load_verdicts, sent, verdicts, verify
from tests.deployments.running_commands import clean_environment, run


def _answering(answer: str, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    # What a person types stands in the terminal until it is read.
    person, terminal = pty.openpty()
    try:
        os.write(person, answer.encode())
        command = [sys.executable, "-m", "deployments.command_line", *arguments]
        return subprocess.run(
            command, stdin=terminal, capture_output=True, text=True, env=dict(environment), timeout=120, check=False
        )
    finally:
        os.close(person)
        os.close(terminal)


def test_another_list_under_a_finished_name_is_asked_about(tmp_path: Path) -> None:
    """It was refused, and a person at the terminal had to type it all again."""
    url = f"sqlite:///{tmp_path / 'contacts.db'}"
    engine = engine_for(url)
    upgrade(engine)
    may = tmp_path / "leads.csv"
    may.write_text("email\na@mole.example\n")
    request = import_contacts(engine, may).request_id
    for batch in claim(engine).batches:
        load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    assert write(engine, complete, request, read(engine, count_contacts, request)) is not None
    may.write_text("email\nb@mole.example\nc@mole.example\n")
    environment = clean_environment(tmp_path, DATABASE_URL=url)

    assert f"request {request} (leads.csv) is finished" in run(["import", str(may)], environment).complaint
    for no in ("n\n", "\n", "\x04"):
        refused = _answering(no, ["import", str(may)], environment)
        assert refused.returncode == 2, refused.stderr
        assert "Add this list to it? [y/N]" in refused.stderr
        assert "with --request NAME, or add it" in refused.stderr
    assert read(engine, count_contacts, request).total == 1
    joined = _answering("y\n", ["import", str(may)], environment)
    assert joined.returncode == 0, joined.stderr
    assert "2 contacts queued" in joined.stdout
    engine.dispose()
