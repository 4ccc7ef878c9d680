"""Lists that are small where they come from, or on their way, and fill the disk or the memory of who opens them."""

import gzip
import io
import json
import os
import socket
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import fsspec  # type: ignore[import-untyped]  # it brings no types
import pytest

from bouncer.errors import InputRefused
from bouncer.files.csv import reading
from bouncer.files.csv.reading import inspect
from bouncer.files.lists import fetching, sources, workbook_parts, workbooks
from bouncer.files.lists.destinations import send_file
from bouncer.files.lists.sources import opened_list
from tests.trust.answering import answering

_LIST = b"email\na@example.com\n"
_MUCH = b"email\n" + b"\n" * 20_000_000


@pytest.fixture(autouse=True)
def bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A megabyte, as the real bound would take a test minutes; gives the folder of temporary files."""
    monkeypatch.setattr(sources, "MOST_UNPACKED", 1_000_000)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _refused(place: str, words: str) -> None:
    with pytest.raises(InputRefused, match=words) as refused, opened_list(place):
        pass
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "packing", "words"),
    [
        (_MUCH, "identity", "more than 1 MB; save it to a file"),
        (gzip.compress(_MUCH), "identity", "unpacks to far more"),
        (gzip.compress(_MUCH), "gzip", "unpacks to far more"),
        (gzip.compress(gzip.compress(_MUCH)), "gzip, gzip", "not asked for; download it"),
        (b"\0", "br", "not asked for; download it"),
    ],
)
def test_a_server_fills_no_disk(body: bytes, packing: str, words: str, bound: Path) -> None:
    """5 MB that it sent were 3 GB in the folder of temporary files, and a list without an end filled the disk."""
    with answering(body, Content_Encoding=packing) as port:
        _refused(f"http://127.0.0.1:{port}/list.csv", words)
    assert not list(bound.iterdir())


def test_a_server_that_dawdles_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no silence, and went on for ever."""
    monkeypatch.setattr(fetching, "MOST_SECONDS", -1.0)
    with answering(_LIST) as port:
        _refused(f"http://127.0.0.1:{port}/list.csv", "not come within an hour")


def test_headers_that_dawdle_keep_nobody_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter of them now and then was listened to for a month."""
    monkeypatch.setattr(fetching, "MOST_SECONDS", 0.3)
    gone = Event()

    def dawdle(listening: socket.socket) -> None:
        caller, _ = listening.accept()
        with caller, suppress(OSError):
            caller.sendall(b"HTTP/1.1 200 OK\r\n")
            while not gone.wait(0.05):
                caller.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=dawdle, args=(listening,))
        thread.start()
        _refused(f"http://127.0.0.1:{listening.getsockname()[1]}/list.csv", "not come within an hour")
        gone.set()
        thread.join()


def test_a_url_of_another_kind_fills_no_disk(bound: Path, tmp_path: Path) -> None:
    """Whatever fsspec knows."""
    fsspec.filesystem("memory").pipe("/list.csv", _MUCH)
    _refused("memory://list.csv", "more than 1 MB; save it to a file")
    fsspec.filesystem("memory").rm("/list.csv")
    assert not list(bound.iterdir())


@pytest.mark.parametrize(
    "place",
    [
        "simplecache::memory://list.csv",
        "filecache::memory://list.csv",
        "blockcache::memory://list.csv",
        "reference://list.csv::memory://list.json",
        "zip://list.csv::memory://list.zip",
        "dir://list.csv::memory://",
        "simplecache://list.csv",
        "reference://list.csv",
        "generic://memory://list.csv",
        "github://owner:repository@main/list.csv",
    ],
)
def test_a_url_is_no_chain_of_file_systems(place: str, bound: Path, tmp_path: Path) -> None:
    """A cache wrote all that a server sent before a byte was counted; references of a server led to files of here."""
    secret = tmp_path / "secret"
    secret.write_bytes(_LIST)
    fsspec.filesystem("memory").pipe("/list.json", json.dumps({"list.csv": [str(secret)]}).encode())
    fsspec.filesystem("memory").pipe("/list.csv", _LIST)
    _refused(place, "not what packs or caches another")
    result = tmp_path / "result.csv"
    result.write_bytes(_LIST)
    with pytest.raises(InputRefused, match="packs or caches"):
        send_file(result, place)
    assert not list(bound.iterdir())


@pytest.mark.parametrize("system", ["file", "local", "FILE"])
def test_a_url_of_this_machine_is_a_path(system: str, tmp_path: Path) -> None:
    """A pipe was waited for without an end."""
    os.mkfifo(tmp_path / "pipe.csv")
    _refused(f"{system}://{tmp_path}/pipe.csv", "not a regular file")
    (tmp_path / "list.csv").write_bytes(_LIST)
    with opened_list(f"{system}://{tmp_path}/list.csv") as source:
        assert source.given == str(tmp_path / "list.csv")
        assert source.path.read_bytes() == _LIST


def test_standard_input_fills_no_disk(bound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``curl … | bouncer-flows verify -`` is a list of a server too."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_MUCH)))
    _refused("-", "standard input has more than 1 MB; save it to a file")
    assert not list(bound.iterdir())


@pytest.mark.parametrize("body", [_LIST, gzip.compress(_LIST)], ids=["plain", "packed"])
@pytest.mark.parametrize("packing", ["", "gzip"])
def test_a_list_is_fetched_wherever_its_server_sends_one(body: bytes, packing: str) -> None:
    """Bodies of redirects were unpacked in memory, whatever their length. Gzip is known by its first bytes."""
    with (
        answering(body, Content_Encoding=packing) as port,
        answering(
            b"not packed at all", 302, Content_Encoding="gzip", Location=f"http://127.0.0.1:{port}/list.csv"
        ) as first,
        opened_list(f"http://127.0.0.1:{first}/list.csv") as source,
    ):
        assert source.path.read_bytes() == _LIST


def test_a_server_that_sends_on_for_ever_is_left() -> None:
    """Each answer names the next."""
    with answering(b"", 302, Location="/list.csv") as port:
        _refused(f"http://127.0.0.1:{port}/list.csv", "cannot be fetched")


_CONTENT = "http://schemas.openxmlformats.org"
_MAIN = f'xmlns="{_CONTENT}/spreadsheetml/2006/main"'
_RELATED = f"{_CONTENT}/officeDocument/2006/relationships"


def _workbook(path: Path, sheet: str, strings: str = "") -> str:
    # By hand: what writes workbooks claims no more than there is.
    parts = {
        "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_RELATED}">'
        '<sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": f"<worksheet {_MAIN}>{sheet}</worksheet>",
        "xl/sharedStrings.xml": f"<sst {_MAIN}>{strings}</sst>",
    }
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts["[Content_Types].xml"] = (
        f'<Types xmlns="{_CONTENT}/package/2006/content-types">'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{types}.sharedStrings+xml"/></Types>'
    )
    for place, kinds in {
        "_rels/.rels": {"officeDocument": "xl/workbook.xml"},
        "xl/_rels/workbook.xml.rels": {"worksheet": "worksheets/sheet1.xml", "sharedStrings": "sharedStrings.xml"},
    }.items():
        links = "".join(
            f'<Relationship Id="r{number}" Type="{_RELATED}/{kind}" Target="{target}"/>'
            for number, (kind, target) in enumerate(kinds.items(), start=1)
        )
        parts[place] = f'<Relationships xmlns="{_CONTENT}/package/2006/relationships">{links}</Relationships>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return str(path)


def _cell(place: str, text: str) -> str:
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


_FIRST_ROWS = f'<row r="1">{_cell("A1", "email")}</row><row r="2">{_cell("A2", "a@example.com")}</row>'


def _with_cell(at: str) -> str:
    row = at.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return f'<dimension ref="A1:XFD1048576"/><sheetData>{_FIRST_ROWS}<row r="{row}">{_cell(at, "x")}</row></sheetData>'


def test_a_workbook_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three cells, the last at the far end of the sheet, were 17 GB of commas: a stray one is common, and harmless."""
    with opened_list(_workbook(tmp_path / "far.xlsx", _with_cell("XFD1000"))) as source:
        lines = source.path.read_text().split()
        assert lines[:2] == ["email", "a@example.com"]
        assert lines[2].strip(",") == "x"
        assert source.path.stat().st_size < 20_000
    monkeypatch.setattr(workbooks, "LARGEST_SHEET", 1_000)
    with opened_list(_workbook(tmp_path / "last.xlsx", _with_cell("A1000"))) as source:
        assert source.path.read_text().splitlines()[999] == "x"
    _refused(_workbook(tmp_path / "beyond.xlsx", _with_cell("A1001")), "more rows than a sheet of Excel; save")


def test_a_workbook_writes_no_text_without_end(tmp_path: Path, bound: Path) -> None:
    """A text is in a workbook once, and any number of cells have it."""
    cells = '<row><c t="s"><v>0</v></c></row>' * 2_000
    sheet = f"<sheetData>{cells}</sheetData>"
    _refused(_workbook(tmp_path / "bomb.xlsx", sheet, f"<si><t>{'a' * 1_000}</t></si>"), "unpacks to far more")
    assert not list(bound.iterdir())


_ATTRIBUTES = f"<a {' '.join(f'a{n}=' + repr('') for n in range(10_000))}/>"
_MERGED = '<mergeCell ref="A1"/>'


@pytest.mark.parametrize(
    ("sheet", "strings"),
    [
        (f"<sheetData><row>{'<c/>' * 10_000}</row></sheetData>", ""),
        (f"<sheetData>{'<row/>' * 100_000}</sheetData>", ""),
        (f"<sheetData>{_FIRST_ROWS}</sheetData>{'<a/>' * 10_000}", ""),
        (f"<sheetData>{_FIRST_ROWS}</sheetData>{_ATTRIBUTES}", ""),
        (f"<sheetData>{_FIRST_ROWS}</sheetData><mergeCells>{_MERGED * 10_000}</mergeCells>", ""),
        (f"<sheetData>{_FIRST_ROWS}</sheetData>", "<si/>" * 100_000),
        (f"<sheetData>{_FIRST_ROWS}</sheetData>", f"<si>{'<r/>' * 10_000}</si>"),
        (f"<sheetData>{_FIRST_ROWS}</sheetData>", f"<si><t>{'a' * 200_000}</t></si>"),
        (f"<sheetData>{_FIRST_ROWS}</sheetData>{'a' * 200_000}", ""),
    ],
)
def test_a_workbook_keeps_no_elements_without_end(
    sheet: str, strings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell of four letters took 320 bytes of memory, so 2 MB of zip took more than any machine has."""
    monkeypatch.setattr(workbook_parts, "MOST_KEPT", 50_000)
    monkeypatch.setattr(workbook_parts, "_MOST_CHARACTERS", 100_000)
    _refused(_workbook(tmp_path / "bomb.xlsx", sheet, strings), "unpacks to far more")


def test_a_large_workbook_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in a row is forgotten behind it, and of a shared text but the text is kept."""
    monkeypatch.setattr(workbook_parts, "MOST_KEPT", 5_000)
    monkeypatch.setattr(workbook_parts, "_MOST_CHARACTERS", 20_000)
    rows = "".join(f'<row><c t="s"><v>{n}</v></c><c><v>1234567890</v></c></row>' for n in range(4_000))
    sheet = f"<sheetData>{rows}</sheetData>"
    texts = "".join(f"<si><t>{n}</t></si>" for n in range(4_000))
    with opened_list(_workbook(tmp_path / "large.xlsx", sheet, texts)) as source:
        assert source.path.read_text().split()[-1] == "3999,1234567890"


def test_a_workbook_declares_no_entities(tmp_path: Path) -> None:
    """They make much of little, and nobody writes them into a workbook."""
    place = _workbook(tmp_path / "bomb.xlsx", f"<sheetData>{_FIRST_ROWS}</sheetData>")
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("xl/more.xml", '<!DOCTYPE a [<!ENTITY b "ccc">]><a>&b;</a>')
    _refused(place, "unpacks to far more")


@pytest.mark.parametrize(("header", "lines"), [(20_000, 3), (16_000, 200)])
def test_one_long_line_makes_no_others_long(
    header: int, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line of a result is as long as the longest: with a megabyte of commas, 10,000 lines were 80 GB of memory."""
    monkeypatch.setattr(reading, "_MOST_FILLED_UP", 2_000_000)
    path = tmp_path / "list.csv"
    path.write_text("email" + "," * (header - 1) + "\n" + "a@example.com\n" * lines)
    with pytest.raises(InputRefused, match="columns, far more than"):
        inspect(path)
    path.write_text("email" + "," * 15_999 + "\n" + "a@example.com\n" * 100)
    assert len(inspect(path).names) == 16_000
