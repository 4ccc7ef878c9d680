"""An import queues every contact once, lists what it rejects, and can be repeated at any time."""

import csv
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, select, text, update

from bouncer.addresses.normalisation import address_key, domain_hash
from bouncer.errors import InputRefused
from bouncer.files.exporting import export_results
from bouncer.files.importing import find_or_make_request, import_contacts
from bouncer.requests.cancelling import mark
from bouncer.requests.users import LOCAL_USER
from bouncer.storage.engine import write
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Base, Contact, Priority, QueuedContact, Request, User
from tests.bouncer.storage.existing_tables import execute, on_servers, on_sqlite

_IMPORT_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from bouncer.storage.engine import engine_for
from bouncer.files.importing import import_contacts
import_contacts(engine_for(sys.argv[1]), Path(sys.argv[2]), progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


def _csv(folder: Path, addresses: Iterable[str], name: str = "leads.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["email", *addresses]) + "\n")
    return path


def _rows(engine: Engine, *what: Any) -> list[Row[Any]]:
    with engine.connect() as connection:
        return list(connection.execute(select(*what)).all())


def _queue(engine: Engine) -> list[tuple[int, str]]:
    """The queued addresses with their requests, in the order of the queue."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(QueuedContact.request_id, Contact.email)
            .join(Contact, Contact.global_id == QueuedContact.global_id)
            .order_by(QueuedContact.queue_id)
        )
        return [(row.request_id, row.email) for row in rows]


def test_queues_every_contact(engine: Engine, tmp_path: Path) -> None:
    """Each valid address becomes a contact and a queue row, in the order of the file, with all that a claim needs."""
    path = _csv(tmp_path, ["Anna@Example.com", "ben@example.org", "carla@example.com"])
    report = import_contacts(engine, path, request_name="Spring", user="me@example.com", priority=Priority.HIGH)
    assert (report.lines, report.queued, report.duplicates, report.rejected) == (3, 3, 0, 0)
    assert (report.created, report.request_name, report.column) == (3, "Spring", "email")
    assert report.rejected_file is None
    assert list(tmp_path.glob("*rejected*")) == []
    (user,) = _rows(engine, User.id, User.email)
    assert user.email == "me@example.com"
    assert _rows(engine, Request.request_id, Request.user_id, Request.name) == [(report.request_id, user.id, "Spring")]
    addresses = ["Anna@example.com", "ben@example.org", "carla@example.com"]
    assert _queue(engine) == [(report.request_id, address) for address in addresses]
    queued = _rows(
        engine, QueuedContact.status, QueuedContact.priority, QueuedContact.user_id, QueuedContact.domain_hash
    )
    assert queued == [
        ("queued", 75, user.id, domain_hash(domain)) for domain in ("example.com", "example.org", "example.com")
    ]
    keys = _rows(engine, Contact.bouncer_address_key)
    assert {row.bouncer_address_key for row in keys} == {address_key(address) for address in addresses}


def test_same_file_again(engine: Engine, tmp_path: Path) -> None:
    """The same file queues nothing a second time; a longer one only what is new."""
    addresses = [f"a{i}@example.com" for i in range(10)]
    first = import_contacts(engine, _csv(tmp_path, addresses))
    again = import_contacts(engine, _csv(tmp_path, addresses))
    assert (again.request_id, again.queued, again.duplicates, again.created) == (first.request_id, 0, 10, 0)
    longer = import_contacts(engine, _csv(tmp_path, [*addresses, "new@example.com"]))
    assert (longer.request_id, longer.queued, longer.duplicates, longer.created) == (first.request_id, 1, 10, 1)
    assert len(_queue(engine)) == 11
    assert [row.email for row in _rows(engine, User.email)] == [LOCAL_USER]


def test_equal_addresses_are_one_contact(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that comes again in another case, near or far in the file, is a duplicate."""
    monkeypatch.setattr("bouncer.files.importing._CHUNK_ROWS", 3)
    path = _csv(tmp_path, ["a@example.com", "A@EXAMPLE.com", "b@example.com", "c@example.com", "B@example.com"])
    report = import_contacts(engine, path)
    assert (report.lines, report.queued, report.duplicates, report.created) == (5, 3, 2, 3)
    assert [address for _, address in _queue(engine)] == ["a@example.com", "b@example.com", "c@example.com"]


def test_requests_share_contacts(engine: Engine, tmp_path: Path) -> None:
    """A contact of one request is queued for another too, without a second contact being made."""
    first = import_contacts(engine, _csv(tmp_path, ["a@example.com", "b@example.com"]), request_name="one")
    second = import_contacts(engine, _csv(tmp_path, ["B@example.com", "c@example.com"]), request_name="two")
    assert (second.queued, second.created) == (2, 1)
    assert _queue(engine) == [
        (first.request_id, "a@example.com"),
        (first.request_id, "b@example.com"),
        (second.request_id, "b@example.com"),
        (second.request_id, "c@example.com"),
    ]


def test_request_and_user_are_found_again(engine: Engine, tmp_path: Path) -> None:
    """A user is found by address in any case, a request by user and exact name; others get their own."""
    path = _csv(tmp_path, ["a@example.com"])
    first = import_contacts(engine, path, user="Me@Example.com")
    assert first.request_name == "leads.csv"
    assert import_contacts(engine, path, user="me@example.COM").request_id == first.request_id
    others = {
        first.request_id,
        import_contacts(engine, path).request_id,
        import_contacts(engine, path, user="you@example.com").request_id,
        import_contacts(engine, path, user="me@example.com", request_name="LEADS.csv").request_id,
    }
    assert len(others) == 4


def test_contacts_of_the_application(engine: Engine, tmp_path: Path) -> None:
    """Contacts that an application put in are found without a key, and of several with one address the oldest."""
    with engine.begin() as connection:
        for email in ("ANNA@example.com", "not an address", "anna@Example.com ", "ben@example.com", ""):
            connection.execute(insert(Contact).values(email=email))
    oldest = min(row.global_id for row in _rows(engine, Contact.global_id))
    report = import_contacts(engine, _csv(tmp_path, ["anna@example.com", "ben@example.com", "new@example.com"]))
    assert (report.queued, report.created) == (3, 1)
    assert next(row.global_id for row in _rows(engine, QueuedContact.global_id)) == oldest
    without_key = select(Contact.email).where(Contact.bouncer_address_key.is_(None)).order_by(Contact.email)
    with engine.connect() as connection:
        assert list(connection.scalars(without_key)) == ["", "not an address"]


def test_an_address_whose_contact_was_changed_meanwhile_is_verified_itself(engine: Engine, tmp_path: Path) -> None:
    """The file's address is queued under a contact of its own, and not the one that the contact has now."""
    path = _csv(tmp_path, ["old@example.com", "kept@example.com", "ünï@example.com", "gone@example.com"])
    import_contacts(engine, path, request_name="first")
    changes = {
        "old@example.com": " New@EXAMPLE.com",
        "kept@example.com": " KEPT@Example.com",
        "ünï@example.com": "ÜNÏ@example.com",
        "gone@example.com": "",
    }
    with engine.begin() as connection:
        connection.execute(update(Contact).values(bouncer_status="deliverable"))
        for before, after in changes.items():
            connection.execute(update(Contact).where(Contact.email == before).values(email=after))
    report = import_contacts(engine, path, request_name="second")
    assert (report.queued, report.created) == (4, 2)
    queued = [email for request, email in _queue(engine) if request == report.request_id]
    assert queued == ["old@example.com", " KEPT@Example.com", "ÜNÏ@example.com", "gone@example.com"]
    found = _rows(engine, Contact.email, Contact.bouncer_address_key, Contact.bouncer_status)
    contacts = {row.email: (row.bouncer_address_key, row.bouncer_status) for row in found}
    assert contacts[" New@EXAMPLE.com"] == (address_key("new@example.com"), None)
    assert contacts[""] == (None, None)
    assert contacts[" KEPT@Example.com"] == (address_key("kept@example.com"), "deliverable")
    again = import_contacts(engine, path, request_name="second")
    assert (again.queued, again.created) == (0, 0)


def test_contact_queued_under_its_twin(engine: Engine, tmp_path: Path) -> None:
    """An address that the application queued under another of its contacts is in the request already."""
    report = import_contacts(engine, _csv(tmp_path, ["ben@example.com"]))
    with engine.begin() as connection:
        user_id = connection.scalar(select(User.id))
        for email in ("anna@example.com", "Anna@example.com"):
            connection.execute(insert(Contact).values(email=email))
        newest = connection.scalar(select(func.max(Contact.global_id)))
        connection.execute(
            insert(QueuedContact).values(global_id=newest, user_id=user_id, request_id=report.request_id)
        )
    again = import_contacts(engine, _csv(tmp_path, ["anna@example.com"]))
    assert (again.queued, again.duplicates) == (0, 1)


def test_lists_rejected_lines(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line that is not queued is listed with its number, the reason, and what stands there."""
    monkeypatch.setattr("bouncer.files.importing._CHUNK_ROWS", 2)
    path = tmp_path / "leads.csv"
    path.write_text('name;email\nA;a@example.com\nB;"b\r;b"\nC\nD;\n\nE;e@example.com\nF;f@localhost\n')
    report = import_contacts(engine, path)
    assert (report.lines, report.queued, report.duplicates, report.rejected) == (6, 2, 0, 4)
    assert report.rejected_file == tmp_path / "leads.rejected.csv"
    with report.rejected_file.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["line"], line["value"]) for line in lines] == [
        ("3", "b\r;b"),
        ("5", "C"),
        ("6", ""),
        ("9", "f@localhost"),
    ]
    assert all(line["reason"] for line in lines)
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix == ".csv") == [
        "leads.csv",
        "leads.rejected.csv",
    ]


def test_rejected_lines_go_elsewhere_if_need_be(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file's own folder takes no files, the list goes into the current one."""
    monkeypatch.chdir(tmp_path)
    with _csv(tmp_path, ["nobody"]).open() as file:
        report = import_contacts(engine, Path(f"/proc/self/fd/{file.fileno()}"))
    assert report.rejected_file is not None
    assert (tmp_path / report.rejected_file).read_text().startswith("line,reason,value\n2,")


def test_says_if_the_list_cannot_be_written(engine: Engine, tmp_path: Path) -> None:
    """A list that no folder takes does not undo the import."""
    path = _csv(tmp_path, ["nobody", "a@example.com"], name="x" * 250 + ".csv")
    report = import_contacts(engine, path, request_name="long")
    assert (report.queued, report.rejected, report.rejected_file) == (1, 1, None)
    assert "could not be written" in " ".join(report.notes)


def test_goes_on_after_a_kill(engine: Engine, database_url: str, tmp_path: Path) -> None:
    """An import killed -9 halfway is completed by the same import, with nothing missing and nothing twice."""
    addresses = [f"a{i}@example{i % 7}.com" for i in range(45_000)]
    path = _csv(tmp_path, ["nobody", *addresses])
    killed = subprocess.run(
        [sys.executable, "-c", _IMPORT_UNTIL_KILLED, database_url, path], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = len(_queue(engine))
    assert 0 < before < 45_000
    assert [file.name for file in tmp_path.iterdir() if "leads" in file.name] == ["leads.csv"]
    report = import_contacts(engine, path)
    assert (report.queued, report.duplicates, report.rejected) == (45_000 - before, before, 1)
    assert [address for _, address in _queue(engine)] == addresses
    assert _rows(engine, func.count(Contact.global_id)) == [(45_000,)]


@pytest.mark.thorough
def test_two_imports_at_once(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two imports of one file into one request at the same time queue each contact once."""
    addresses = [f"a{i}@example.com" for i in range(3000)]
    import_contacts(engine, _csv(tmp_path, ["first@example.com"]))
    path = _csv(tmp_path, addresses)
    monkeypatch.setattr("bouncer.files.importing._CHUNK_ROWS", 100)
    with ThreadPoolExecutor(2) as both:
        reports = list(both.map(lambda _: import_contacts(engine, path), range(2)))
    assert sum(report.queued for report in reports) == 3000
    assert sorted(address for _, address in _queue(engine)) == sorted(["first@example.com", *addresses])


def test_first_imports_at_once_make_one_user(engine: Engine) -> None:
    """A second import of a new user that begins before the first has committed finds that user, and its request."""
    with ThreadPoolExecutor(1) as other:
        with engine.execution_options(writes=True).connect() as connection, connection.begin():
            first = find_or_make_request(connection, "leads", "new@example.com")
            second = other.submit(write, engine, find_or_make_request, "leads", "new@example.com")
            # Time enough to make a user of its own, if it did not wait.
            wait([second], timeout=0.5)
        assert second.result() == first
    assert _rows(engine, User.email) == [("new@example.com",)]


def test_an_import_into_a_cancelled_request_is_refused(engine: Engine, tmp_path: Path) -> None:
    """Whoever imports into a request that somebody has cancelled is told, and how to take that back."""
    report = import_contacts(engine, _csv(tmp_path, ["a@example.com"]))
    write(engine, mark, report.request_id, by="ann", reason="gone")
    with pytest.raises(InputRefused, match=f"bouncer-flows requeue --request {report.request_id}"):
        import_contacts(engine, _csv(tmp_path, ["b@example.com"]))


def test_tells_how_far_it_is(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress counts lines and bytes up to the whole of the file."""
    monkeypatch.setattr("bouncer.files.importing._CHUNK_ROWS", 4)
    path = _csv(tmp_path, [f"a{i}@example.com" for i in range(10)])
    told: list[tuple[int, int]] = []
    import_contacts(engine, path, progress=lambda lines, done: told.append((lines, done)))
    assert [lines for lines, _ in told] == [4, 8, 10]
    assert told[-1][1] == path.stat().st_size


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("id,name\n1,Anna\n", {}),
        ("", {}),
        ("email\na@example.com\n", {"user": "nobody"}),
        ("email\na@example.com\n", {"request_name": " "}),
        ("email\na@example.com\n", {"request_name": "x" * 256}),
        ("email\na@example.com\n", {"column": "phone"}),
    ],
)
def test_refusals_change_nothing(engine: Engine, tmp_path: Path, content: str, settings: dict[str, str]) -> None:
    """What is refused is refused before the first row is written."""
    path = tmp_path / "leads.csv"
    path.write_text(content)
    rows = [select(func.count()).select_from(table) for table in Base.metadata.sorted_tables]
    with engine.connect() as connection:
        before = [connection.scalar(count) for count in rows]
    with pytest.raises(InputRefused):
        import_contacts(engine, path, **settings)  # type: ignore[arg-type]  # the keywords are in the parameters
    with engine.connect() as connection:
        assert [connection.scalar(count) for count in rows] == before


@on_sqlite
def test_refusal_of_the_database_names_no_address(engine: Engine, tmp_path: Path) -> None:
    """Where a rule of the application's tables keeps a contact out, one line says so, and no address is in it."""
    with engine.begin() as connection:
        connection.execute(text("CREATE UNIQUE INDEX one_address ON Contacts_Global (email)"))
        # As after a change of the address by the application.
        connection.execute(insert(Contact).values(email="anna@example.com", bouncer_address_key=address_key("old")))
    with pytest.raises(InputRefused) as refused:
        import_contacts(engine, _csv(tmp_path, ["anna@example.com"]))
    assert "import again" in str(refused.value)
    assert "anna" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_domain_in_unicode_comes_back_as_it_was_written(engine: Engine, tmp_path: Path) -> None:
    """It came back as xn--…, which its owner does not know it by; who wrote that gets that."""
    written = ["Anna@Bücher.example", "ben@xn--bcher-kva.example", "cora@例え.example", "dan@plain.example"]
    path = tmp_path / "leads.csv"
    path.write_text("\n".join(["email", *written]) + "\n", encoding="utf-8")
    assert import_contacts(engine, path).queued == 4
    export_results(engine, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [line["email"] for line in csv.DictReader(file)] == written
    assert import_contacts(engine, tmp_path / "out.csv", column="email").created == 0


@on_servers
@pytest.mark.parametrize("column", ["CHARACTER SET latin1", "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"])
def test_a_domain_that_an_adopted_column_cannot_hold_is_kept_in_ascii(
    empty_engine: Engine, tmp_path: Path, column: str
) -> None:
    """Western letters alone have no room for it, and to a collation u and ü may be the same letter."""
    execute(
        empty_engine,
        "CREATE TABLE Contacts_Global (global_id int AUTO_INCREMENT PRIMARY KEY, "
        f"email varchar(320) {column} NOT NULL UNIQUE)",
    )
    upgrade(empty_engine)
    report = import_contacts(empty_engine, _csv(tmp_path, ["a@muller.example", "a@müller.example", "a@例え.example"]))
    assert (report.queued, report.rejected) == (3, 0)


@on_servers
@pytest.mark.parametrize(
    ("column", "bad"),
    [
        ("varchar(40) CHARACTER SET utf8mb4", "verylonglocalpartverylonglocalpart@example.com"),
        ("varchar(320) CHARACTER SET latin1", "漢字@example.com"),
        ("varchar(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci UNIQUE", "jose@example.com"),
        ("varchar(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci UNIQUE", "josé@example.com"),
    ],
)
def test_a_line_that_an_adopted_column_cannot_hold_is_listed_and_the_others_are_queued(
    empty_engine: Engine, tmp_path: Path, column: str, bad: str
) -> None:
    """One such line once kept the whole list out, and nobody was told which it was."""
    execute(
        empty_engine,
        f"CREATE TABLE Contacts_Global (global_id int AUTO_INCREMENT PRIMARY KEY, email {column} NOT NULL)",
        "INSERT INTO Contacts_Global (email) VALUES ('owner@example.com')",
    )
    upgrade(empty_engine)
    if bad == "josé@example.com":
        execute(empty_engine, "INSERT INTO Contacts_Global (email) VALUES ('jose@example.com')")
    first = ["josé@example.com"] if bad == "jose@example.com" else []
    report = import_contacts(empty_engine, _csv(tmp_path, [*first, "ann@example.com", bad, "owner@example.com"]))
    assert (report.queued, report.rejected, report.duplicates) == (2 + len(first), 1, 0)
    assert report.rejected_file is not None
    ((line, reason, value),) = list(csv.reader(report.rejected_file.open()))[1:]
    assert (int(line), value) == (3 + len(first), bad)
    assert reason.startswith("the database's column for addresses")


@pytest.mark.parametrize("unique", [False, True])
def test_imports_at_once_make_each_contact_once(engine: Engine, tmp_path: Path, unique: bool) -> None:
    """Two lists with the same new addresses once made two contacts of each, or the second was refused."""
    if unique:
        execute(engine, "CREATE UNIQUE INDEX one_address ON Contacts_Global (email)")
    addresses = [f"a{number}@example{number % 7}.com" for number in range(3_000)]
    files = [_csv(tmp_path, addresses, f"{name}.csv") for name in ("one", "two", "three")]
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda file: import_contacts(engine, file), files))
    assert [report.queued for report in reports] == [3_000] * 3
    assert sum(report.created for report in reports) == 3_000
    assert _rows(engine, func.count(Contact.global_id)) == [(3_000,)]
