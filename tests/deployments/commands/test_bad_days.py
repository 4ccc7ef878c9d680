"""What a user gets wrong, or a machine has not got: one line that says what to do, exit code 2, nothing half-done."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.contacts_database import engine_of
from bouncer.storage.engine import engine_for
from deployments.command_line import main
from deployments.settings import Settings
from deployments.setup.set_up import set_up
from tests.contacts import addresses, statuses
from tests.deployments.running_commands import Ended, clean_environment, run
from tests.prefect_server import forget_setup

Complain = Callable[..., str]
_TOO_LARGE = "9" * 30
_NOT_UTF8 = os.fsdecode(b"\xff")


@pytest.fixture
def contacts(tmp_path: Path) -> Path:
    """A CSV file with two contacts, within a folder of the user's own."""
    path = tmp_path / "contacts.csv"
    path.write_text("\n".join(["email", *addresses(2)]) + "\n")
    return path


@pytest.fixture
def complain(
    tmp_path: Path, contacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Complain:
    """Runs a command in this process and returns the one line that it complains with."""
    monkeypatch.chdir(contacts.parent)

    def run_here(*arguments: str, **settings: str) -> str:
        for name, value in clean_environment(tmp_path, **settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["bouncer-flows", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(int(str(ended.value.code)), said.out, said.err).complaint

    return run_here


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import", "no-such.csv"], "no-such.csv: there is no such file"),
        (["import", "folder"], "folder is a directory; name a CSV file in it"),
        (["import", f"x{_NOT_UTF8}.csv"], r"x\xff.csv is not valid UTF-8; write it, or name the file, otherwise"),
        (["import", "contacts.csv", "--request", f"r{_NOT_UTF8}"], r"r\xff is not valid UTF-8"),
        (["import", "contacts.csv", "--max-credits", _TOO_LARGE], "--max-credits. Must be <= 2147483647"),
        (["export", "folder"], "folder is a directory; give the name of a file in it"),
        (["export", "no-such-folder/results.csv"], "cannot be written (No such file or directory)"),
        (["export", "/dev/full"], "/dev/full cannot be written (No space left on device)"),
        (["export", "-", "--request", "-1"], "--request. Must be >= 1"),
        (["export", "-", "--request", _TOO_LARGE], "--request. Must be <="),
        (["export", "-", "--request", "7"], "There is no request 7"),
        (["ledger", "folder"], "folder cannot be written (Is a directory)"),
        (["ledger", "/dev/full"], "/dev/full cannot be written (No space left on device)"),
        (["requeue", "--request", "first"], "--request"),
        (["requeue", "--request", _TOO_LARGE], "--request. Must be <="),
        (["requeue", "--dead-letter", _TOO_LARGE], "--dead-letter. Must be <="),
        (["cancel", "--request", _TOO_LARGE], "--request. Must be <="),
        (["ingest", "--request", "-1"], "--request. Must be >= 1"),
        (["verify-risky", "--request", _TOO_LARGE], "--request. Must be <="),
        (["reverify", "--older-than-days", "inf"], "--older-than-days. Must be <= 36500"),
        (["reverify", "--monthly-budget", _TOO_LARGE], "--monthly-budget. Must be <= 2147483647"),
        (["resume", "--account", "nobody"], "there is no account nobody"),
        (["pause", "--reason", _NOT_UTF8], "is not valid UTF-8"),
        (["demo", "--folder", "contacts.csv"], "contacts.csv cannot be made (File exists); choose another"),
        (["demo", "--contacts", _TOO_LARGE], "--contacts. Must be <= 10000000"),
        (["metrics"], "METRICS_PORT is not set"),
    ],
)
def test_wrong_arguments(complain: Complain, tmp_path: Path, contacts: Path, arguments: list[str], said: str) -> None:
    """Files that are none, numbers that no table can hold, names that are no text."""
    (tmp_path / "folder").mkdir()
    before = contacts.read_bytes()
    assert said in complain(*arguments)
    assert contacts.read_bytes() == before
    database = tmp_path / "flows" / "contacts.db"
    if database.exists():
        engine = engine_for(f"sqlite:///{database}")
        assert statuses(engine) == {}
        engine.dispose()


@pytest.mark.parametrize("arguments", [["status"], ["import", "contacts.csv"], ["export", "-"], ["pause"], ["ledger"]])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DATABASE_URL": "mysql://me:secret@127.0.0.1:1/x"}, "check DATABASE_URL: Can't connect"),
        ({"DATABASE_URL": "sqlite:///contacts.csv"}, "check DATABASE_URL: file is not a database"),
        ({"DATABASE_URL": "sqlite:///contacts.csv/x.db"}, "DATABASE_URL"),
        ({"BOUNCER_FLOWS_HOME": "contacts.csv"}, "contacts.csv cannot be made (File exists); choose another"),
        ({"BOUNCER_FLOWS_HOME": "/proc/no"}, "BOUNCER_FLOWS_HOME: /proc/no cannot be made"),
    ],
)
def test_a_database_or_a_home_that_is_none(
    complain: Complain, arguments: list[str], settings: dict[str, str], said: str
) -> None:
    """Each command names the variable that is wrong."""
    assert said in complain(*arguments, **settings)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["status"], ["requests"], ["ledger"], ["export", "-"], ["pause"], ["resume"], ["requeue"], ["reverify"]),
        *(["metrics"], ["callbacks"], ["cancel", "--request", "spring"], ["ingest", "--request", "spring"]),
    ],
)
def test_a_file_with_a_typo_is_not_made(complain: Complain, tmp_path: Path, arguments: list[str]) -> None:
    """A command once made an empty database in its place, and told that all was done."""
    said = complain(*arguments, DATABASE_URL="sqlite:///typo.db", METRICS_PORT="1", CALLBACK_PORT="1")
    assert f"there is no file {tmp_path / 'typo.db'}; correct it, or make the database with bouncer-flows setup" in said
    assert not (tmp_path / "typo.db").exists()


@pytest.mark.parametrize("arguments", [["import"], ["import", "--dry-run"], ["verify", "--dry-run"]])
def test_nothing_is_made_for_a_list_that_is_not_there(complain: Complain, tmp_path: Path, arguments: list[str]) -> None:
    """An import made an empty database first, and a forecast started a Prefect server."""
    (command, *options) = arguments
    assert "typo.csv: there is no such file" in complain(command, "typo.csv", *options)
    assert not (tmp_path / "flows").exists()


def test_what_is_piped_is_not_taken_for_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    """The list was read to its end first, and what another program had made once was gone."""
    read_end, write_end = os.pipe()
    environment = clean_environment(tmp_path, DATABASE_URL="mysql://nobody:secret@127.0.0.1:1/none")
    command = [sys.executable, "-m", "deployments.command_line", "import", "-"]
    # It refuses while whoever writes the list has not come to its end.
    done = subprocess.run(
        command, env=environment, stdin=read_end, stderr=subprocess.PIPE, text=True, timeout=120, check=False
    )
    assert (done.returncode, "127.0.0.1" in done.stderr) == (2, True)
    os.close(read_end)
    os.close(write_end)


def test_a_person_is_not_erased_from_a_database_that_was_never_made(complain: Complain, tmp_path: Path) -> None:
    """In a shell without the service's DATABASE_URL it made an empty one, and said that nobody is in it."""
    said = complain("erase", "--email", "ann@example.com", "--yes")
    assert "DATABASE_URL is not set, and there is no database" in said
    assert list(tmp_path.rglob("contacts.db")) == []


def test_an_import_makes_the_file_and_says_where(
    tmp_path: Path, contacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who begins with a relative file learns which one it is."""
    monkeypatch.chdir(tmp_path)
    for name, value in clean_environment(tmp_path, DATABASE_URL="sqlite:///first.db").items():
        monkeypatch.setenv(name, value)
    for command in (["import", contacts.name], ["status"]):
        monkeypatch.setattr(sys, "argv", ["bouncer-flows", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert (f"made the database {tmp_path / 'first.db'}" in capsys.readouterr().err) == (command[0] == "import")


@pytest.mark.parametrize(
    "arguments", [["import", "contacts.csv"], ["status"], ["status", "--json"], ["export", "-"], ["--help"]]
)
@pytest.mark.thorough
def test_a_full_disk_is_told(tmp_path: Path, contacts: Path, arguments: list[str]) -> None:
    """Output that cannot be written is one line and not half an output that looks whole."""
    environment = clean_environment(contacts.parent)
    with Path("/dev/full").open("wb") as full:
        ended = _ended(arguments, environment, tmp_path, full)
    assert "the output cannot be written (No space left on device)" in ended.complaint


@pytest.mark.parametrize("arguments", [["status"], ["export", "-"], ["requeue"], ["--help"]])
@pytest.mark.thorough
def test_a_reader_who_has_had_enough_is_no_error_to_tell_of(tmp_path: Path, arguments: list[str]) -> None:
    """As before ``| head``: exit code 2, for it did not run to its end, and not a word."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = _ended(arguments, clean_environment(tmp_path), tmp_path, write_end)
    os.close(write_end)
    assert (ended.code, ended.err) == (2, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.thorough
def test_outputs_that_were_closed_swallow_what_is_said(tmp_path: Path, contacts: Path, closed: str) -> None:
    """No traceback, and what is said stands in none of the files that are written meanwhile."""
    environment = clean_environment(tmp_path)
    command = f"{sys.executable} -m deployments.command_line"
    for said in ("import contacts.csv", "export verdicts.csv"):
        script = f"{command} {said} {closed}"
        ended = subprocess.run(
            ["/bin/sh", "-c", script], check=False, cwd=contacts.parent, env=environment, capture_output=True
        )
        assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)
    assert (contacts.parent / "verdicts.csv").read_text().count("@") == 2


@pytest.mark.thorough
def test_a_terminal_without_unicode_is_shown_what_it_can_show(tmp_path: Path, contacts: Path) -> None:
    """Names of requests keep their place, by the numbers of their characters."""
    environment = clean_environment(tmp_path, PYTHONIOENCODING="ascii")
    log = tmp_path / "output"
    for arguments in (["import", "contacts.csv", "--request", "Größe"], ["status"]):
        with log.open("wb") as out:
            assert _ended(arguments, environment, contacts.parent, out).code == 0
    assert r"Gr\xf6\xdfe" in log.read_text("ascii")


async def test_setup_on_another_prefect_server_needs_no_home(tmp_path: Path, prefect_server: object) -> None:
    """Where PREFECT_API_URL names a server and DATABASE_URL nothing, the folder of the embedded database is made."""
    await forget_setup()
    home = tmp_path / "new" / "home"
    changes = await set_up(Settings(bouncer_api_key=SecretStr("some-key"), bouncer_flows_home=home))
    assert "block contacts-database/default saved" in changes
    assert (home / "contacts.db").exists()
    engine_of.cache_clear()


@pytest.mark.thorough
def test_a_prefect_server_that_is_away(tmp_path: Path) -> None:
    """The line names PREFECT_API_URL."""
    environment = clean_environment(tmp_path, PREFECT_API_URL="http://127.0.0.1:1/api", BOUNCER_API_KEY="some-key")
    assert "check its address, PREFECT_API_URL" in run(["setup"], environment).complaint


def _ended(arguments: list[str], environment: dict[str, str], folder: Path, out: object) -> Ended:
    done = subprocess.run(
        [sys.executable, "-m", "deployments.command_line", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.DEVNULL,
        stdout=out,  # type: ignore[call-overload]  # a file or its number
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return Ended(done.returncode, "", done.stderr)
