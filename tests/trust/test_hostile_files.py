"""CSV files that nobody should send: bounded memory, every line told, nothing run, nothing left behind."""

import csv
import os
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from bouncer.addresses.normalisation import InvalidAddress, normalise
from bouncer.errors import InputRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.files.csv.cells import harmless
from bouncer.files.csv.reading import inspect, read_chunks
from bouncer.files.exporting import export_results
from bouncer.files.importing import import_contacts
from bouncer.safe_text import clean_message, visible
from bouncer.storage.engine import engine_for, probe, read
from bouncer.storage.tables import Request, User
from tests.bouncer.contacts import claim, load_verdicts, queue, queue_rows, verdicts, verify
from tests.bouncer.storage.existing_tables import on_sqlite

_MOST_MEMORY = 60_000_000
_MEGABYTES = 90


def _write(folder: Path, pieces: Iterator[bytes]) -> Path:
    path = folder / "hostile.csv"
    with path.open("wb") as file:
        file.writelines(pieces)
    return path


@pytest.mark.parametrize(
    ("piece", "most_lines"),
    [
        pytest.param((b'x","' + b"y" * 1000 + b"\n") * 1000, None, id="quotes that never close"),
        pytest.param(b"x" * 1_000_000, 1, id="one line"),
        pytest.param(b"a," * 500_000 + b"\n", None, id="half a million columns"),
        pytest.param(b'a@b.com,"' + b"y" * 130_000 + b'"\n', None, id="cells as long as they may be"),
        pytest.param(b"one cell of a line that should have two " * 3000 + b"\n", None, id="lines that end early"),
    ],
)
def test_memory_is_bounded(tmp_path: Path, piece: bytes, most_lines: int | None) -> None:
    """A file of 90 MB is read, with 60 MB of memory at most."""
    head = b"name,email\n" + b"Anna,anna@example.com\n" * 200
    path = _write(tmp_path, iter([head, *[piece] * max(1, (_MEGABYTES << 20) // max(len(piece), 1))]))
    tracemalloc.start()
    try:
        lines = 0
        for chunk in read_chunks(inspect(path), 20_000):
            lines += len(chunk.lines) + len(chunk.rejected)
        assert tracemalloc.get_traced_memory()[1] < _MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert lines >= 200 + (most_lines or 0)


_SQL = [
    "'; DROP TABLE Users; --",
    '" OR ""="',
    "\\'; DELETE FROM Bouncer_Queue; #",
    "Robert'); DROP TABLE Contacts_Global;-- \\",
    "%s %(x)s :name ? {0}",
    "x' UNION SELECT 1,2,3 -- ",
    "\\x27 \\u0027 \0 \x1a",
]


@pytest.mark.parametrize("hostile", _SQL)
def test_sql_in_every_text_stays_a_text(engine: Engine, tmp_path: Path, hostile: str) -> None:
    """Names, addresses, verdicts and messages stay texts, control characters made visible; no other row changes."""
    name = hostile.replace("\0", "")
    local = "o'reilly\\x"[: len(hostile)] if "'" in hostile else "plain"
    address = f"{local.replace(chr(92), '')}@example.com"
    file = _write(tmp_path, iter([f"email\n{address}\nanna@example.com\n{hostile}\n".encode()]))
    report = import_contacts(engine, file, request_name=name, user="o'hara@example.com")
    assert (report.queued, report.rejected) == (2, 1)
    assert read(engine, lambda c: c.scalar(select(Request.name))) == visible(name.strip())
    assert read(engine, lambda c: c.scalar(select(User.email))) == "o'hara@example.com"

    (batch,) = claim(engine).batches
    work = verify(engine, batch.id)
    odd = {
        "reason": hostile,
        "provider": hostile,
        "toxic": hostile,
        "didYouMean": hostile,
        "domain": {hostile: hostile},
    }
    loaded = load_verdicts(engine, work, verdicts([address], status=hostile, **odd) + verdicts(["anna@example.com"]))
    assert (loaded.settled, loaded.missing) == (2, 0)
    stored = {row.email: row.bouncer_status for row in queue_rows(engine)}
    assert stored == {address: visible(hostile.replace("\0", "\ufffd")), "anna@example.com": "deliverable"}
    assert read(engine, lambda c: c.scalar(text("SELECT COUNT(*) FROM Users"))) == 1
    assert "\0" not in clean_message(hostile)

    export_results(engine, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as exported:
        (first, _) = csv.DictReader(exported)
    assert first["email"] == address
    assert first["provider"] == harmless(visible(hostile.replace("\0", "\ufffd"))[:100])


def test_details_that_no_database_takes_do_not_keep_a_batch_out(engine: Engine) -> None:
    """MariaDB refuses JSON of 33 levels and long statements; a domain of either once failed a whole batch for ever."""
    deep: object = 1
    for _ in range(60):
        deep = {"a": [deep]}
    queue(engine, ["anna@example.com", "ben@example.com"])
    (batch,) = claim(engine).batches
    work = verify(engine, batch.id)
    answers = verdicts(["anna@example.com"], domain={"name": deep}, account={"x": "ü" * 9_000_000})
    assert load_verdicts(engine, work, answers + verdicts(["ben@example.com"])).settled == 2


@on_sqlite
@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\N{FULLWIDTH EQUALS SIGN}"])
def test_the_list_of_rejected_lines_runs_nothing(engine: Engine, tmp_path: Path, first: str) -> None:
    """What was no address may be a formula, and people open the list in a spreadsheet."""
    file = _write(tmp_path, iter([f'email\nanna@example.com\n"{first}cmd|x"\n'.encode()]))
    report = import_contacts(engine, file)
    assert report.rejected_file is not None
    with report.rejected_file.open(newline="") as listing:
        (line,) = csv.DictReader(listing)
    assert line["value"].startswith("'")


def test_what_is_being_written_is_private_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file must have a name while it is written, its owner alone reads it; the rights of an older file stay."""
    monkeypatch.delattr("os.O_TMPFILE")
    path = tmp_path / "results.csv"
    with atomic_file(path) as file:
        file.write("address")
        (hidden,) = tmp_path.iterdir()
        assert stat.S_IMODE(hidden.stat().st_mode) == 0o600
        assert hidden.name.startswith(".results.csv.")
    assert [each.name for each in tmp_path.iterdir()] == ["results.csv"]
    path.chmod(0o640)
    with atomic_file(path) as file:
        file.write("another")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_kill_9_left_goes_with_the_next_file(tmp_path: Path) -> None:
    """A file that was cut off holds addresses; the same command, run again, takes it away, and no file of another."""
    path = tmp_path / "results.csv"
    code = (
        "import os, sys, pathlib; del os.O_TMPFILE\n"
        "from bouncer.files.atomic_file import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write('address'); file.flush(); print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with atomic_file(path) as file:
            file.write("mine")
        assert len(list(tmp_path.iterdir())) == 2, "the file of a writer that is alive stays"
        writer.send_signal(signal.SIGKILL)
    with atomic_file(path) as file:
        file.write("whole")
    assert [each.name for each in tmp_path.iterdir()] == ["results.csv"]


@pytest.mark.parametrize("file", ["/dev/zero", "/proc/self/mem", "/dev/stdin"])
def test_files_that_are_none_are_refused(file: str) -> None:
    """A device would be read for ever."""
    with pytest.raises(InputRefused):
        inspect(Path(file))


def test_a_new_sqlite_file_is_its_owners(tmp_path: Path) -> None:
    """Addresses are in it and in its journals."""
    engine = engine_for(f"sqlite:///{tmp_path / 'contacts.db'}")
    probe(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE one (id INT)"))
        connection.execute(text("INSERT INTO one VALUES (1)"))
        rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    engine.dispose()
    assert rights == dict.fromkeys(rights, 0o600)
    assert "contacts.db" in rights


def test_a_reason_is_short_however_odd_the_address() -> None:
    """The reason is stored with each contact; one that lists 200 characters one by one helps nobody."""
    with pytest.raises(InvalidAddress) as refusal:
        normalise("".join(map(chr, range(0x2500, 0x2580))) + "@example.com")
    assert 20 < len(str(refusal.value)) < 250
