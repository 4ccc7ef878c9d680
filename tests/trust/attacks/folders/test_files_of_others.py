"""Others lay links, pipes and files where ours are written, or read what we leave lying about."""

import csv
import os
import stat
import tempfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine

from bouncer.errors import InputRefused, SettingRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.files.csv.cells import harmless
from bouncer.files.csv.reading import inspect
from bouncer.files.exporting import export_results
from bouncer.files.importing import import_contacts
from bouncer.files.lists.destinations import refuse_overwriting, written_rows
from bouncer.files.lists.results import Choice, write_list
from bouncer.files.private_folders import forget_temporary_folders, private_folder, temporary_folder
from bouncer.storage.engine import engine_for, probe
from deployments.server.address import configured_server
from tests.bouncer.storage.existing_tables import on_sqlite

_STRANGER = 65_534
"""Nobody, who owns nothing of ours."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that belong to somebody else")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever the user's habits are."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def _rights(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def _write(path: Path) -> None:
    with atomic_file(path) as file:
        file.write("ada@example.com")


@pytest.mark.usefixtures("umask")
def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Results had the rights that the umask left, which on most machines lets everybody read them."""
    _write(tmp_path / "results.csv")
    assert _rights(tmp_path / "results.csv") == 0o600


@pytest.mark.usefixtures("umask")
def test_all_folders_that_are_made_are_their_owners_alone(tmp_path: Path) -> None:
    """Those above the last one had the rights that the umask left."""
    private_folder(tmp_path / "one" / "two" / "three")
    for name in ("one", "one/two", "one/two/three"):
        assert _rights(tmp_path / name) == 0o700


def _link(path: Path, target: Path) -> None:
    path.symlink_to(target)
    os.lchown(path, _STRANGER, _STRANGER)


def _pipe(path: Path) -> list[bytes]:
    os.mkfifo(path, 0o666)
    os.lchown(path, _STRANGER, _STRANGER)
    heard: list[bytes] = []

    def listen() -> None:
        # Without waiting for a writer, who may never come.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, False)
        for _ in range(20):
            try:
                heard.append(os.read(descriptor, 100))
            except BlockingIOError:
                heard.append(b"")
            os.sched_yield()
        os.close(descriptor)

    Thread(target=listen, daemon=True).start()
    return heard


def test_a_link_that_a_stranger_laid_is_not_followed(shared: Path, tmp_path: Path) -> None:
    """It led to a file of the user's, which was overwritten, or to one that the stranger reads."""
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    _link(shared / "results.csv", mine)
    with pytest.raises(OSError, match="belongs to somebody else"):
        _write(shared / "results.csv")
    assert mine.read_text() == "precious"


def test_a_link_that_a_stranger_lays_meanwhile_is_not_followed(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He laid it between the look and the writing, and the user's own file was replaced."""
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    look, looks = Path.lstat, iter([True])

    def look_and_be_too_late(path: Path) -> os.stat_result:
        try:
            return look(path)
        finally:
            if path == shared / "results.csv" and next(looks, False):
                _link(path, mine)

    monkeypatch.setattr(Path, "lstat", look_and_be_too_late)
    _write(shared / "results.csv")
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_a_url_of_this_machine_is_a_file_like_others(scheme: str, tmp_path: Path) -> None:
    """Results went there readable for everybody, and over whatever was there."""
    place = f"{scheme}://{tmp_path}/results.csv"
    with written_rows(place) as put:
        put(["email"], [["ada@example.com"]])
    assert _rights(tmp_path / "results.csv") == 0o600
    with pytest.raises(InputRefused, match="is there already"):
        refuse_overwriting(place)


def test_a_pipe_of_a_stranger_is_not_written_into(shared: Path) -> None:
    """He would read along."""
    heard = _pipe(shared / "results.csv")
    with pytest.raises(OSError, match="belongs to somebody else"):
        _write(shared / "results.csv")
    assert not any(heard)


def test_a_file_of_a_stranger_lends_its_rights_to_nothing(shared: Path) -> None:
    """Results that took its place kept its rights: everybody could read them."""
    (shared / "results.csv").write_text("")
    (shared / "results.csv").chmod(0o666)
    os.lchown(shared / "results.csv", _STRANGER, _STRANGER)
    with pytest.raises(OSError, match="belongs to somebody else"):
        _write(shared / "results.csv")
    assert (shared / "results.csv").read_text() == ""


def test_what_the_user_has_laid_himself_is_used(shared: Path, tmp_path: Path) -> None:
    """A link of one's own leads where it should, in a shared folder too; rights that one gave stay."""
    (tmp_path / "mine.csv").write_text("old")
    (tmp_path / "mine.csv").chmod(0o640)
    (shared / "results.csv").symlink_to(tmp_path / "mine.csv")
    _write(shared / "results.csv")
    assert (tmp_path / "mine.csv").read_text() == "ada@example.com"
    assert _rights(tmp_path / "mine.csv") == 0o640


@on_sqlite
@pytest.mark.parametrize("lay", [_link, lambda path, _: _pipe(path)])
def test_the_list_of_rejected_lines_goes_nowhere_else(
    engine: Engine, shared: Path, tmp_path: Path, lay: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody typed its name, and everybody can guess it; it goes where it goes if the folder cannot be written to."""
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    (shared / "contacts.csv").write_text("email\nada@example.com\nsomeone.secret\n")
    lay(shared / "contacts.rejected.csv", mine)  # type: ignore[operator]  # one of the two above
    report = import_contacts(engine, shared / "contacts.csv")
    assert (report.queued, report.rejected) == (1, 1)
    assert mine.read_text() == "precious"
    assert report.rejected_file == Path("contacts.rejected.csv")
    assert "someone.secret" in (tmp_path / "contacts.rejected.csv").read_text()
    assert _rights(tmp_path / "contacts.rejected.csv") == 0o600


@on_sqlite
def test_an_export_says_what_to_do(engine: Engine, shared: Path, tmp_path: Path) -> None:
    """One line, as for every file that cannot be written."""
    _link(shared / "results.csv", tmp_path / "anything")
    with pytest.raises(InputRefused, match=r"results\.csv cannot be written \(it belongs to somebody else\); choose"):
        export_results(engine, shared / "results.csv")


_CELLS = [
    ("=1+1", ","),
    ("a;=cmd|'/c calc'!A1", ";"),
    ("a;\"=cmd|'/c calc'!A1\"", ";"),
    ('a;"=cmd', ";"),
    ('a\t"@SUM(1)', "\t"),
    ('a|" =1+1', "|"),
    ("a;'=1", ";"),
    ('"=1+1"', ","),
    ('a;""=1', ";"),
    ("x\n=1+1", ","),
    ('x\n"=1+1', ";"),
    ("\ufeff=1+1", ","),
    (" =1+1", ","),
    ('a;\ufeff" "@SUM(1)', ";"),
    ("a,=1+1", ","),
    ('a,"=1+1', ","),
]


@pytest.mark.parametrize(("cell", "separator"), _CELLS)
def test_no_cell_is_run_by_a_spreadsheet_whatever_it_takes_for_the_separator(cell: str, separator: str) -> None:
    """A file is opened with the separator of the country, and the quotes that ours has then mean something else."""
    written = StringIO()
    csv.writer(written).writerow(["1", harmless(cell), "2"])
    for taken in {separator, ",", ";", "\t", "|"}:
        _refuse_formulas(written.getvalue(), taken)


def _refuse_formulas(written: str, taken: str) -> None:
    for row in csv.reader(StringIO(written), delimiter=taken):
        for found in row:
            bare = found.lstrip(' "\ufeff')
            assert not bare.startswith(tuple("=+@-")), (written, taken, row)


_BEHIND_COMMAS = ["a,-1", 'a","=1+1', 'a;b,"=1', "a,\t=1", "a, \ufeff+1", "=1,=1", ",=1", "1,-2"]


@on_sqlite
@pytest.mark.parametrize("language", ["C", "de_DE.UTF-8"])
def test_no_result_for_excel_is_run(
    engine: Engine, tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers came back as they were; and between semicolons, a cell of commas had no quotes for who takes commas."""
    monkeypatch.setenv("LC_ALL", language)
    cells = [*(cell for cell, _ in _CELLS), *_BEHIND_COMMAS]
    file = tmp_path / "list.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([["email", *cells], ["anna@example.com", *cells]])
    report = import_contacts(engine, file)
    for excel in (True, False):
        layout = inspect(file)
        write_list(engine, layout, report.request_id, str(tmp_path / "out.csv"), Choice(excel=excel))
        assert len(layout.names) == 1 + len(cells)
        written = (tmp_path / "out.csv").read_text(encoding="utf-8-sig")
        for taken in ",;\t|":
            _refuse_formulas(written, taken)


_CONFIGURE = {
    ".env": "PREFECT_API_URL=https://evil.example/api\n",
    "prefect.toml": '[api]\nurl = "https://evil.example/api"\n',
    "pyproject.toml": '[tool.prefect.api]\nurl = "https://evil.example/api"\n',
}


@pytest.mark.parametrize("of_link", [False, True])
@pytest.mark.parametrize("name", _CONFIGURE)
def test_a_file_of_somebody_else_names_no_server(
    name: str, of_link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared folder it chose the server that is told the key; it is refused, as is a link that a stranger laid."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    file.write_text(_CONFIGURE[name])
    own = configured_server()
    assert own is not None
    assert own.url == "https://evil.example/api"
    if of_link:
        file.rename(tmp_path / "own")
        _link(file, tmp_path / "own")
    else:
        os.chown(file, _STRANGER, _STRANGER)
    with pytest.raises(SettingRefused, match="belongs to somebody else"):
        configured_server()
    file.unlink()
    file.write_text("A=1\n" if name == ".env" else "[a]\n")
    os.chown(file, _STRANGER, _STRANGER)
    assert configured_server() is None


@pytest.mark.parametrize("name", _CONFIGURE)
def test_a_file_of_somebody_else_names_no_profiles(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the file of profiles, which names a server too."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_PROFILES_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    told = {
        ".env": "PREFECT_PROFILES_PATH=/tmp/p.toml\n",
        "prefect.toml": 'profiles_path = "/tmp/p.toml"\n',
        "pyproject.toml": '[tool.prefect]\nprofiles_path = "/tmp/p.toml"\n',
    }
    (tmp_path / name).write_text(told[name])
    os.chown(tmp_path / name, _STRANGER, _STRANGER)
    with pytest.raises(SettingRefused, match="belongs to somebody else"):
        configured_server()


_LEFT = ".bouncer-flows-temporary-killed"


def test_what_a_kill_leaves_in_the_temporary_folder_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that was unpacked or fetched stayed there with all its addresses; what is not ours, or in use, stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (_LEFT, f"{_LEFT}-stranger", "others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sheet.csv").write_text("ada@example.com")
        os.utime(tmp_path / name, (0, 0))
    os.chown(tmp_path / f"{_LEFT}-stranger", _STRANGER, _STRANGER)
    (tmp_path / f"{_LEFT}-link").symlink_to(tmp_path / "others")
    with temporary_folder() as used:
        os.utime(used, (0, 0))
        forget_temporary_folders(tmp_path)
        left = {f"{_LEFT}-stranger", f"{_LEFT}-link", "others", used.name}
        assert {path.name for path in tmp_path.iterdir()} == left
        assert (tmp_path / "others" / "sheet.csv").exists()
    assert not used.exists()


@pytest.mark.parametrize("journal", ["-wal", "-shm", "-journal"])
def test_a_journal_that_somebody_else_laid_is_not_filled(journal: str, tmp_path: Path) -> None:
    """All that is written goes into the journal first, and what stands there already becomes part of the database."""
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    file = everybodys / "contacts.db"
    laid = everybodys / f"{file.name}{journal}"
    engine = engine_for(f"sqlite:///{file}")
    probe(engine)
    engine.dispose()
    laid.unlink(missing_ok=True)
    laid.touch()
    os.chown(laid, _STRANGER, _STRANGER)
    laid.chmod(0o666)
    with pytest.raises(SettingRefused, match="somebody else, itself or its journal"):
        probe(engine)
    laid.unlink()
    probe(engine)
    engine.dispose()


@pytest.mark.parametrize("of_link", [False, True])
def test_a_database_that_somebody_else_laid_is_not_filled(of_link: bool, tmp_path: Path) -> None:
    """In /tmp, whoever made the file first, for everybody to write to, read all addresses that came into it."""
    everybodys = tmp_path / "everybodys"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    file = everybodys / "contacts.db"
    if of_link:
        _link(file, tmp_path / "elsewhere.db")
    else:
        file.touch()
        os.chown(file, _STRANGER, _STRANGER)
    engine = engine_for(f"sqlite:///{file}")
    with pytest.raises(SettingRefused, match="belongs to somebody else"):
        probe(engine)
    assert not (tmp_path / "elsewhere.db").exists()
    file.unlink()
    probe(engine)
    assert _rights(file) == 0o600
    engine.dispose()
