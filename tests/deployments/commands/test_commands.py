"""The command line as a user runs it: exit codes, data on standard output, one line an error."""

import csv
import os
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from blocks.bouncer_account import BouncerAccount
from blocks.saved_blocks import load_saved
from bouncer.storage.tables import Contact
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, assert_verified_once, statuses
from tests.deployments.running_commands import clean_environment, run
from tests.sandbox_process import SandboxHandle

_ANSWER = {
    "outcome",
    "contacts",
    "verified",
    "failed",
    "left",
    "reused",
    "batches",
    "seconds",
    "verdicts",
    "credits_used",
    "possible_double_payments",
    "message",
    "contacts_a_minute",
}


def _csv(folder: Path, emails: list[str]) -> Path:
    path = folder / "contacts.csv"
    path.write_text("\n".join(["email", *emails]) + "\n")
    return path


@pytest.mark.scenario
async def test_from_a_csv_file_to_its_verdicts(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """Import, ingest, status and export do what the README shows; programs read one JSON object from each."""
    engine = await set_up_account()
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"}
    file = _csv(tmp_path, [*addresses(300), "not an address", addresses(1)[0].upper()])
    imported = run(["import", str(file), "--request", "spring", "--priority", "high", "--json"], environment)
    assert (imported.code, imported.out.count("\n")) == (0, 1)
    report = imported.answer
    assert (report["queued"], report["rejected"], report["duplicates"], report["request_name"]) == (300, 1, 1, "spring")
    assert report["rejected_file"].startswith(str(tmp_path))
    again = run(["import", str(file), "--request", "spring"], environment)
    assert (again.code, again.out) == (
        0,
        f"request {report['request_id']} (spring): 0 contacts queued, 301 duplicates, 1 line rejected\n",
    )
    ingested = run(["ingest", "--request", str(report["request_id"]), "--json"], environment)
    assert (ingested.code, ingested.out.count("\n")) == (0, 1), ingested.err
    assert set(ingested.answer) == _ANSWER
    assert (ingested.answer["outcome"], ingested.answer["verified"]) == ("drained", 300)
    assert_verified_once(engine, sandbox, contacts=300)

    stock = run(["status", "--json"], environment)
    assert stock.code == 0
    assert stock.answer["contacts"] == {"queued": 0, "assigned": 0, "completed": 300, "failed": 0, "cancelled": 0}
    assert stock.answer["verdicts"] == ingested.answer["verdicts"]
    assert stock.answer["batches"]["by_state"] == {"completed": 1}
    on_one_screen = run(["status"], environment)
    assert (on_one_screen.code, on_one_screen.err) == (0, "")
    assert "300 verified" in on_one_screen.out

    exported = tmp_path / "results.csv"
    written = run(["export", str(exported), "--request", str(report["request_id"])], environment)
    assert (written.code, written.out, written.err) == (0, "", f"300 contacts written to {exported}\n")
    with exported.open(newline="") as lines, engine.connect() as connection:
        in_file = {(row["email"], row["status"]) for row in csv.DictReader(lines)}
        assert in_file == {tuple(row) for row in connection.execute(select(Contact.email, Contact.bouncer_status))}


@on_sqlite
async def test_exit_codes_tell_how_an_ingest_ended(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str, tmp_path: Path
) -> None:
    """1 where contacts failed with a reason, 0 where there is nothing to do, 2 with one line where it cannot run."""
    engine = await set_up_account()
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"}
    run(["import", str(_csv(tmp_path, addresses(1))), "--json"], environment)
    sandbox.fault("status", operation="create", code=400, message="malformed body", times=None)
    failed = run(["ingest", "--json"], environment)
    assert failed.code == 1, failed.err
    assert (failed.answer["outcome"], failed.answer["failed"]) == ("drained", 1)
    nothing = run(["ingest"], environment)
    assert (nothing.code, nothing.out) == (0, "nothing to do: no contacts wait in the queue\n")

    requeued = run(["requeue", "--json"], environment)
    assert (requeued.code, requeued.answer["contacts"]) == (0, 1)
    sandbox.clear_faults()
    # As somebody may change it in the UI; setup tries a key before it saves it.
    account = await load_saved(BouncerAccount, "default")
    assert account is not None
    account.api_key = SecretStr("marked-key")
    await account.save("default", overwrite=True)
    refused = run(["ingest", "--json"], environment)
    assert "Bouncer answered 401" in refused.complaint
    assert "marked-key" not in refused.err
    assert statuses(engine) == {"queued": 1}


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (["no-such-command"], {}, 'Unknown command "no-such-command"'),
        (["import"], {}, "requires an argument"),
        (["import", "no-such-file.csv"], {}, "no-such-file.csv"),
        (["import", "contacts.csv", "--priority", "soon"], {}, "priority"),
        (["import", "contacts.csv", "--column", "none"], {}, "none"),
        (["demo", "--contacts", "0"], {}, "--contacts"),
        (["sandbox", "--port", "65536"], {}, "--port"),
        (["import", "contacts.csv", "--user", "me"], {}, "Give it as --user NAME@DOMAIN"),
        (["status"], {"BATCH_SIZE": "0"}, "BATCH_SIZE: Input should be greater than or equal to 1"),
        (["status"], {"DATABASE_URL": "mysql://me:marked@127.0.0.1:1/x"}, "check DATABASE_URL"),
        (["status"], {"DATABASE_URL": "postgresql://me:marked@h/x"}, "works with mysql, mariadb and sqlite"),
        (["export", "no-such-folder/results.csv"], {}, "no-such-folder"),
        (["callbacks"], {}, "CALLBACK_PORT is not set"),
        (["ingest", "--request", "first"], {}, "request"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], said: str
) -> None:
    """Exit code 2, nothing on standard output, and one line that names what is wrong and shows no secret."""
    _csv(tmp_path, addresses(2))
    inside = [str(tmp_path / text) if text.endswith(".csv") else text for text in arguments]
    ended = run(inside, clean_environment(tmp_path, **settings))
    assert said in ended.complaint
    assert "marked" not in ended.err
    assert "Traceback" not in ended.err


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """The sandbox says which option names another port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run(["sandbox", "--port", str(taken.getsockname()[1])], clean_environment(tmp_path))
    assert "is taken or may not be used; choose another with --port" in ended.complaint
