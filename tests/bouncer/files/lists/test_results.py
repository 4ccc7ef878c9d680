"""A list comes back with its own columns, line for line, and with a verdict and advice behind them."""

import csv
import gzip
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import inspect
from bouncer.files.importing import ImportReport, import_contacts
from bouncer.files.lists.destinations import place_of_result
from bouncer.files.lists.results import Choice, Written, write_list
from bouncer.files.lists.sources import opened_list
from bouncer.files.lists.workbooks import rows_of, write_workbook
from bouncer.verdicts.advice import Advice
from tests.bouncer.contacts import claim, load_verdicts, sent, verdicts, verify

_LINES = [
    ["Name", "E-Mail", "status", "Note"],
    ["Ines", "Ines Mohr <ines@mole.example>", "new", "=1+1"],
    ["Jan", "JAN@mole.example", "", "two\nlines"],
    ["Kai", "kai@mole.example; kai2@mole.example", "old", ""],
    ["Ines too", "INES@mole.example", "", "x"],
    ["Nobody", "-", "", ""],
    ["Short"],
    ["Lea", "lea@mölln.example", "", "ü"],
]
_STATUS = {"ines": "deliverable", "JAN": "undeliverable", "lea": "risky", "kai": "unknown", "kai2": "deliverable"}


def _list(folder: Path, lines: list[list[str]] = _LINES) -> Path:
    path = folder / "leads.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def _verify_all(engine: Engine) -> int:
    (batch,) = claim(engine).batches
    addresses = sent(engine, batch.id)
    answers = [verdicts([a], status=_STATUS.get(a.partition("@")[0], "deliverable"), score=50)[0] for a in addresses]
    load_verdicts(engine, verify(engine, batch.id), answers)
    return len(addresses)


def _result(
    engine: Engine,
    source: Path,
    report: ImportReport,
    result: Path,
    choice: Choice | None = None,
    *,
    split: bool = False,
) -> tuple[Written, list[dict[str, str]]]:
    with opened_list(str(source)) as opened:
        layout = inspect(opened.path, None, opened.name)
        written = write_list(engine, layout, report.request_id, str(result), choice or Choice(), split=split)
    with result.open(encoding="utf-8-sig", newline="") as file:
        return written, list(csv.DictReader(file))


def test_one_line_for_each_with_its_own_columns(engine: Engine, tmp_path: Path) -> None:
    """Own columns stay as they are and where they are; names that meet get a prefix; rejected lines say why."""
    source = _list(tmp_path)
    report = import_contacts(engine, source)
    assert _verify_all(engine) == 3
    written, rows = _result(engine, source, report, tmp_path / "result.csv")
    assert written == Written(7, {"send": 2, "suppress": 3, "review": 2})
    assert list(rows[0])[:8] == [
        "Name",
        "E-Mail",
        "status",
        "Note",
        "advice",
        "advice_reason",
        "bouncer_status",
        "reason",
    ]
    own = [[row[name] for name in _LINES[0]] for row in rows]
    guarded = [[cell.replace("=1+1", "'=1+1") if cell != "-" else "'-" for cell in line] for line in _LINES[1:]]
    assert own == [line + [""] * (4 - len(line)) for line in guarded]
    assert [(row["advice"], row["bouncer_status"], row["outcome"]) for row in rows] == [
        ("send", "deliverable", "completed"),
        ("suppress", "undeliverable", "completed"),
        ("review", "", "rejected"),
        ("send", "deliverable", "completed"),
        ("suppress", "", "rejected"),
        ("suppress", "", "rejected"),
        ("review", "risky", "completed"),
    ]
    assert "2 addresses" in rows[2]["error"]
    assert "ends before column 2" in rows[5]["error"]


def test_lines_are_many_times_a_chunk(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks neither lose nor repeat a line, and an address far down has the verdict of its first line."""
    monkeypatch.setattr("bouncer.files.lists.own_columns._CHUNK_ROWS", 3)
    lines = [["email"], *([f"a{number % 7}@mole.example"] for number in range(20))]
    source = _list(tmp_path, lines)
    report = import_contacts(engine, source)
    assert _verify_all(engine) == 7
    written, rows = _result(engine, source, report, tmp_path / "result.csv")
    assert written.lines == 20
    assert [[row["email"]] for row in rows] == lines[1:]
    assert {row["status"] for row in rows} == {"deliverable"}


def test_a_list_without_header_comes_back_with_one(engine: Engine, tmp_path: Path) -> None:
    """Its columns are numbered, and no line is taken for a header."""
    source = _list(tmp_path, [["ines@mole.example", "x"], ["jan@mole.example", "y"]])
    report = import_contacts(engine, source)
    _verify_all(engine)
    _, rows = _result(engine, source, report, tmp_path / "result.csv")
    assert [(row["column 1"], row["column 2"]) for row in rows] == [
        ("ines@mole.example", "x"),
        ("jan@mole.example", "y"),
    ]


def test_split_cells_give_a_line_for_each_address(engine: Engine, tmp_path: Path) -> None:
    """On demand, the line with two addresses is verified and comes back twice."""
    source = _list(tmp_path)
    report = import_contacts(engine, source, split=True)
    assert _verify_all(engine) == 5
    written, rows = _result(engine, source, report, tmp_path / "result.csv", split=True)
    assert written.lines == 8
    assert [row["bouncer_status"] for row in rows if row["Name"] == "Kai"] == ["unknown", "deliverable"]


def test_only_what_is_advised(engine: Engine, tmp_path: Path) -> None:
    """One advice, a rule of one's own, and a suppression list with each address once."""
    source = _list(tmp_path)
    report = import_contacts(engine, source)
    _verify_all(engine)
    _, rows = _result(engine, source, report, tmp_path / "send.csv", Choice(Advice.SEND))
    assert [row["Name"] for row in rows] == ["Ines", "Ines too"]
    rule = "bouncer_status == 'risky' and score < 60 or Name == 'Jan'"
    written, rows = _result(engine, source, report, tmp_path / "rule.csv", Choice(where=rule))
    assert ([row["Name"] for row in rows], written.lines) == (["Jan", "Lea"], 2)
    suppressed = Choice(Advice.SUPPRESS, addresses_only=True)
    _, rows = _result(engine, source, report, tmp_path / "suppress.csv", suppressed)
    assert rows == [{"email": "JAN@mole.example"}]
    _, rows = _result(engine, source, report, tmp_path / "all.csv", Choice(addresses_only=True))
    assert [row["email"].lower() for row in rows] == [
        "ines@mole.example",
        "jan@mole.example",
        "lea@mölln.example",
    ]


@pytest.mark.parametrize("rule", ["status ==", "nothing > 1", "@pd.io", "Name.__class__", "1 + 1"])
def test_a_rule_that_cannot_be_followed_is_refused(engine: Engine, tmp_path: Path, rule: str) -> None:
    """It is said in one line, and nothing is written."""
    source = _list(tmp_path)
    report = import_contacts(engine, source)
    with pytest.raises(InputRefused) as refused:
        _result(engine, source, report, tmp_path / "rule.csv", Choice(where=rule))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "rule.csv").exists()


def test_a_result_comes_back_without_a_new_contact(engine: Engine, tmp_path: Path) -> None:
    """Importing a result makes no contact, and whatever it was guarded with is no part of an address."""
    lines = [["email"], ["=ines@mole.example"], ["+jan@mole.example"], ["lea@mölln.example"]]
    source = _list(tmp_path, lines)
    report = import_contacts(engine, source)
    _verify_all(engine)
    _, rows = _result(engine, source, report, tmp_path / "result.csv")
    assert [row["email"] for row in rows] == ["'=ines@mole.example", "'+jan@mole.example", "lea@mölln.example"]
    again = import_contacts(engine, tmp_path / "result.csv")
    assert (again.column, again.queued, again.created, again.rejected) == ("email", 3, 0, 0)
    assert claim(engine).reused == 3


def test_for_excel(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte order mark tells Excel that it is UTF-8, and the separator is that of the language."""
    source = _list(tmp_path)
    report = import_contacts(engine, source)
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with opened_list(str(source)) as opened:
        layout = inspect(opened.path)
        write_list(engine, layout, report.request_id, str(tmp_path / "result.csv"), Choice(excel=True))
    begin = (tmp_path / "result.csv").read_bytes()[:30]
    assert begin.startswith(b"\xef\xbb\xbfName;E-Mail;")


def test_packed_and_as_a_workbook(engine: Engine, tmp_path: Path) -> None:
    """A packed list and a workbook go in, whatever they are called, and come out."""
    packed = tmp_path / "leads.csv.gz"
    packed.write_bytes(gzip.compress(_list(tmp_path).read_bytes()))
    report = import_contacts(engine, packed)
    assert (report.queued, report.request_name, report.column) == (3, "leads.csv.gz", "E-Mail")
    workbook = tmp_path / "book.csv"
    with workbook.open("wb") as file:
        write_workbook(file, _LINES[0], [line + [""] * (4 - len(line)) for line in _LINES[1:]])
    report = import_contacts(engine, workbook)
    assert (report.queued, report.created, report.rejected) == (3, 0, 3)
    _verify_all(engine)
    with opened_list(str(workbook)) as opened:
        layout = inspect(opened.path, None, opened.name)
        for name in ("result.xlsx", "result.csv.gz"):
            assert write_list(engine, layout, report.request_id, str(tmp_path / name), Choice()).lines == 7
    rows = list(rows_of(tmp_path / "result.xlsx", "result.xlsx"))
    assert rows[1][:6] == ["Ines", "Ines Mohr <ines@mole.example>", "new", "'=1+1", "send", "the mailbox takes mail"]
    assert (
        gzip.decompress((tmp_path / "result.csv.gz").read_bytes())
        .decode()
        .startswith("Name,E-Mail,status,Note,advice,")
    )


@pytest.mark.parametrize(
    ("place", "result", "expected"),
    [
        ("/x/leads.csv", None, "/x/leads.verified.csv"),
        ("/x/leads.csv.gz", None, "/x/leads.verified.csv.gz"),
        ("/x/leads.XLSX", None, "/x/leads.verified.xlsx"),
        ("/x/leads", None, "/x/leads.verified.csv"),
        ("-", None, "-"),
        ("/x/leads.csv", "/y/out.xlsx", "/y/out.xlsx"),
        ("/x/leads.csv", "-", "-"),
        ("/x/leads.csv", "s3://bucket/out.csv", "s3://bucket/out.csv"),
    ],
)
def test_where_the_result_goes(place: str, result: str | None, expected: str) -> None:
    """Beside the list unless told, in the form of the list."""
    assert place_of_result(place, result) == expected


def test_urls_by_fsspec(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is fetched from a URL, and its result is sent to one."""
    monkeypatch.chdir(tmp_path)
    source = _list(tmp_path)
    report = import_contacts(engine, source.as_uri())
    assert (report.queued, report.request_name) == (3, "leads.csv")
    _verify_all(engine)
    with opened_list(source.as_uri()) as opened:
        layout = inspect(opened.path, None, opened.name)
        place = (tmp_path / "out.csv").as_uri()
        assert write_list(engine, layout, report.request_id, place, Choice()).lines == 7
    assert (tmp_path / "out.csv").read_text().count("\n") == 9


@pytest.mark.parametrize("place", ["nosuch://bucket/x.csv", "http://127.0.0.1:9/x.csv", "file:///nowhere/x.csv"])
def test_a_list_that_cannot_be_fetched(engine: Engine, place: str) -> None:
    """It is refused in one line that shows no secret of the URL."""
    with pytest.raises(InputRefused) as refused:
        import_contacts(engine, place + "?signature=secret")
    assert "secret" not in str(refused.value)
