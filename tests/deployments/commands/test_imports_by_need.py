"""A command loads only the libraries that it works with, and ends with its last word: what a person waits for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bouncer.queue.ingest_summary import is_idle
from bouncer.storage.engine import engine_for
from deployments.command_line import app
from deployments.last_set_up import is_set_up, note_set_up
from deployments.server.server_files import ServerFiles
from deployments.settings import read_settings
from tests.contacts import addresses, statuses
from tests.deployments.running_commands import clean_environment, run

_RUN_AND_LIST = """
import sys
from deployments import command_line
sys.argv[1:] = {arguments!r}
try:
    command_line.main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(*{{name.partition(".")[0] for name in sys.modules}}, file=sys.stderr)
"""


def _loaded(arguments: list[str], environment: dict[str, str]) -> set[str]:
    """The packages that are loaded at the end of a command."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN_AND_LIST.format(arguments=arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ingest", "--help"]])
def test_help_needs_no_library_of_the_work(arguments: list[str], tmp_path: Path) -> None:
    """The list of commands is there at once: no Prefect, no pandas, no database."""
    loaded = _loaded(arguments, clean_environment(tmp_path))
    assert "cyclopts" in loaded
    assert loaded & {"prefect", "pandas", "numpy", "sqlalchemy", "pydantic", "httpx", "alembic"} == set()


def test_help_has_a_line_for_every_command(tmp_path: Path) -> None:
    """A command that is imported only when it is called is explained all the same."""
    shown = run(["--help"], clean_environment(tmp_path)).out
    commands = {name: command for name, command in app.resolved_commands().items() if not name.startswith("-")}
    assert {"setup", "import", "verify-risky"} <= commands.keys()
    for name, command in commands.items():
        (line,) = [line for line in shown.splitlines() if line.strip(" │").startswith(f"{name} ")]
        assert command.help.split()[0] in line, name


def test_a_command_loads_only_what_it_works_with(tmp_path: Path) -> None:
    """Status, import and export of a file are there at once: they leave Prefect and pandas alone, and Alembic too."""
    file = tmp_path / "contacts.csv"
    file.write_text("\n".join(["email", *addresses(3), "not an address"]) + "\n")
    # The first command of all makes the tables, with Alembic.
    run(["status"], clean_environment(tmp_path))
    for arguments, needs in (
        (["status"], set()),
        (["import", str(file)], {"email_validator"}),
        (["status", "--json"], set()),
        (["export", str(tmp_path / "out.csv")], set()),
        (["pause"], set()),
        (["ledger"], set()),
    ):
        loaded = _loaded(arguments, clean_environment(tmp_path))
        assert "sqlalchemy" in loaded
        not_needed = {"prefect", "pandas", "numpy", "alembic", "pymysql", "httpx", "email_validator"} - needs
        assert loaded & not_needed == set(), arguments
    engine = engine_for(f"sqlite:///{tmp_path / 'flows' / 'contacts.db'}")
    assert statuses(engine) == {"queued": 3}
    engine.dispose()


def test_an_ingest_that_finds_nothing_to_do_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It started a server and a run for three seconds, to say that nothing waits."""
    database = tmp_path / "own.db"
    environment = clean_environment(tmp_path, DATABASE_URL=f"sqlite:///{database}")
    file = tmp_path / "contacts.csv"
    file.write_text("email\nno address\n")
    run(["import", str(file)], environment)
    for name in [name for name in os.environ if name not in environment]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # Who has a server of his own has set up before.
    (tmp_path / "flows" / "prefect").mkdir()
    settings = read_settings()
    engine = engine_for(settings.url)
    assert not is_set_up(settings, engine)
    # As while a command of this home works, whose server has another port the next time.
    ServerFiles(tmp_path / "flows").note_port(4_321)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4321/api")
    note_set_up(settings, engine)
    monkeypatch.delenv("PREFECT_API_URL")
    (note,) = (tmp_path / "flows").glob("*.set-up")
    assert note.stat().st_mode & 0o777 == 0o600
    assert "prefect" not in _loaded(["ingest"], environment)
    assert run(["ingest"], environment).out == "nothing to do: no contacts wait in the queue\n"
    assert "there is no request 999" in run(["ingest", "--request", "999"], environment).complaint.lower()
    # What is set otherwise may be refused, or has to be set up.
    assert not is_set_up(settings.model_copy(update={"batch_size": 7}), engine)
    assert not is_set_up(settings, engine_for(f"sqlite:///{tmp_path}/another.db"))
    assert is_idle(engine, None)
    file.write_text("\n".join(["email", *addresses(1)]) + "\n")
    run(["import", str(file)], environment)
    assert not is_idle(engine, None)
    engine.dispose()


def test_a_command_that_has_said_its_last_word_ends(tmp_path: Path) -> None:
    """For half a second more, Python looked for garbage in all that Prefect and pandas had made."""
    # What is registered first is called last.
    first = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())))"
    main = "from deployments.command_line import main; sys.argv[1:] = ['status']; main()"
    program = [sys.executable, "-c", f"{first}; {main}"]
    done = subprocess.run(program, env=clean_environment(tmp_path), capture_output=True, text=True, check=True)
    spared, looked_through = map(int, done.stdout.split()[-2:])
    assert spared > 10_000 > looked_through


def test_all_that_a_command_has_written_is_in_the_one_file_of_the_database_when_it_ends(tmp_path: Path) -> None:
    """Whoever copies contacts.db after an import would have copied none of it."""
    file = tmp_path / "contacts.csv"
    file.write_text("\n".join(["email", *addresses(3)]) + "\n")
    run(["import", str(file)], clean_environment(tmp_path))
    assert [found.name for found in (tmp_path / "flows").glob("contacts.db*")] == ["contacts.db"]
