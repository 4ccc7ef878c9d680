"""CSV files are read as people have them, and refused in one line where that is not possible."""

import codecs
import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import RejectedLine, inspect, read_chunks

_PLAIN = "email,name\nanna@example.com,Anna\nben@example.com,Ben\n"
_EXPECTED = [(2, "anna@example.com"), (3, "ben@example.com")]


def _write(folder: Path, content: str | bytes) -> Path:
    path = folder / "contacts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _read(path: Path, column: str | None = None, rows: int = 1000) -> tuple[list[tuple[int, str]], list[RejectedLine]]:
    found: list[tuple[int, str]] = []
    rejected: list[RejectedLine] = []
    for chunk in read_chunks(inspect(path, column), rows):
        found += zip(chunk.lines, chunk.addresses, strict=True)
        rejected += chunk.rejected
    return found, rejected


def _refusal(path: Path, column: str | None = None) -> str:
    with pytest.raises(InputRefused) as refused:
        inspect(path, column)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(_PLAIN, _EXPECTED, id="plain"),
        pytest.param(_PLAIN.rstrip("\n"), _EXPECTED, id="no line end at the end"),
        pytest.param(_PLAIN.replace("\n", "\r\n"), _EXPECTED, id="CRLF"),
        pytest.param(_PLAIN.replace("\n", "\r"), _EXPECTED, id="CR"),
        pytest.param(_PLAIN.replace(",", ";"), _EXPECTED, id="semicolon"),
        pytest.param(_PLAIN.replace(",", "\t"), _EXPECTED, id="tab"),
        pytest.param(_PLAIN.replace(",", "|"), _EXPECTED, id="pipe"),
        pytest.param("sep=;\r\nemail;name\r\na@b.com;A,B\r\n", [(3, "a@b.com")], id="Excel tells the delimiter"),
        pytest.param("email;name, first\na@b.com;Doe, Jane\n", [(2, "a@b.com")], id="commas between semicolons"),
        pytest.param("name,email\n'A;B;C',a@b.com\n", [(2, "a@b.com")], id="semicolons between commas"),
        pytest.param(codecs.BOM_UTF8 + _PLAIN.encode(), _EXPECTED, id="UTF-8 with mark"),
        pytest.param(_PLAIN.encode("utf-16"), _EXPECTED, id="UTF-16 with mark"),
        pytest.param(codecs.BOM_UTF16_BE + _PLAIN.encode("utf-16-be"), _EXPECTED, id="UTF-16 big-endian"),
        pytest.param(_PLAIN.encode("utf-16-le"), _EXPECTED, id="UTF-16 without mark"),
        pytest.param(_PLAIN.encode("utf-16-be"), _EXPECTED, id="UTF-16 big-endian without mark"),
        pytest.param(_PLAIN.encode("utf-32"), _EXPECTED, id="UTF-32"),
        pytest.param('email,name\n"a@b.com","Jane ""J"" Doe"\n', [(2, "a@b.com")], id="quotes"),
        pytest.param('name,email\n"Jane\nDoe\r\n",a@b.com\nX,b@b.com\n', [(2, "a@b.com"), (5, "b@b.com")], id="lines"),
        pytest.param("email\n\n \na@b.com\n\n", [(4, "a@b.com")], id="blank lines"),
        pytest.param("email;name\na@b.com;\n;;;\n ; ;\n", [(2, "a@b.com")], id="lines of delimiters"),
        pytest.param("a@b.com\nb@b.com\n", [(1, "a@b.com"), (2, "b@b.com")], id="no header"),
        pytest.param("Anna,a@b.com\nBen,b@b.com\n", [(1, "a@b.com"), (2, "b@b.com")], id="no header, columns"),
        pytest.param("Kontakt,Name\na@b.com,A\nb@b.com,B\n", [(2, "a@b.com"), (3, "b@b.com")], id="unknown header"),
        pytest.param("email,name\nnobody,A\n,B\na@b.com\n", [(2, "nobody"), (3, ""), (4, "a@b.com")], id="invalid too"),
        pytest.param("email,name\na\0@b.com,A\nb@b.com,\0\n", [(2, "a\0@b.com"), (3, "b@b.com")], id="NUL"),
        pytest.param("mail,Kontakt\nyes,a@b.com\nno,b@b.com\n", [(2, "a@b.com"), (3, "b@b.com")], id="mail is a flag"),
    ],
)
def test_reads(tmp_path: Path, content: str | bytes, expected: list[tuple[int, str]]) -> None:
    """Addresses come with the number of their line in a text editor, whatever the file's dress."""
    assert _read(_write(tmp_path, content)) == (expected, [])


@pytest.mark.parametrize(
    "header",
    ["email", "Email", "E-Mail", "e_mail", " EMAIL ", "email_address", "E-Mail Adresse", "mail", "emailaddress"],
)
def test_finds_the_column_by_its_header(tmp_path: Path, header: str) -> None:
    """The usual names of the column are known, even where another column holds addresses too."""
    path = _write(tmp_path, f"id,owner,{header}\n1,boss@example.com,anna@example.com\n")
    assert _read(path)[0] == [(2, "anna@example.com")]


@pytest.mark.parametrize("column", ["owner", " OWNER ", "2"])
def test_takes_the_column_that_is_named(tmp_path: Path, column: str) -> None:
    """A column given by header or number wins over the one that would be found."""
    path = _write(tmp_path, "email,owner\nanna@example.com,boss@example.com\n")
    assert _read(path, column)[0] == [(2, "boss@example.com")]


def test_windows_1252(tmp_path: Path) -> None:
    """A file that is not UTF-8, if only near its end, is read as Windows-1252, and the report will say so."""
    path = _write(tmp_path, "name,email\n" + "Anna,anna@example.com\n" * 100_000 + "x,y\n")
    path.write_bytes(path.read_bytes() + "Müller,m@example.com\n".encode("cp1252"))
    layout = inspect(path)
    assert "Windows-1252" in " ".join(layout.notes)
    assert [chunk.addresses[-1] for chunk in read_chunks(layout, 200_000)] == ["m@example.com"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no contacts"),
        ("\n\n", "holds no contacts"),
        ("email,name\n", "nothing below its header"),
        ("id,name\n1,Anna\n", "its columns are: id, name"),
        ('"id\nAnna";name\n1;Anna\n', "its columns are: id Anna, name"),
        ('"of anna@b.com, or others";name\n1;Anna\n', "its columns are: of [address], or others, name"),
        ("a,b\nx@b.com,y@b.com\n", "several columns of e-mail addresses: a, b"),
        ("x@b.com,y@b.com\nv@b.com,w@b.com\n", "several columns of e-mail addresses: column 1, column 2"),
        (b"PK\x03\x04" + bytes(100), "Excel"),
        (b"\x1f\x8b\x08" + bytes(100), "compressed"),
        (b"\x7fELF" + bytes(range(256)) * 10, "not a text file"),
        (bytes(1000), "not a text file"),
        ("Müller\0,m@example.com\n".encode("cp1252") * 10, "not a text file"),
    ],
)
def test_refuses(tmp_path: Path, content: str | bytes, words: str) -> None:
    """A file that cannot be read says in one line why, and which columns it has."""
    assert words in _refusal(_write(tmp_path, content))


def test_refuses_a_column_that_is_not_there(tmp_path: Path) -> None:
    """A column that the file lacks is refused with those that it has."""
    assert "no column 'phone'; its columns, of which --column takes one, are: email, name" in _refusal(
        _write(tmp_path, _PLAIN), "phone"
    )


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    """No file, a directory and a pipe are told apart."""
    assert "no such file" in _refusal(tmp_path / "nowhere" / "contacts.csv")
    assert "is a directory" in _refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in _refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_refuses_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """A lack of permission is said in one line."""
    path = _write(tmp_path, _PLAIN)
    path.chmod(0)
    assert "Permission denied" in _refusal(path)


@pytest.mark.parametrize(
    "broken",
    ['"Anna,anna@example.com', '"Anna"x,anna@example.com', 'Anna,"anna@example.com'],
)
def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path, broken: str) -> None:
    """A quote that nobody closes does not swallow the thousands of contacts that follow."""
    lines = ["name,email", broken, *(f"Ben,ben{i}@example.com" for i in range(3, 20_000)), '"Z",z@example.com']
    found, rejected = _read(_write(tmp_path, "\n".join(lines)), "email")
    assert {(i, f"ben{i}@example.com") for i in range(3, 20_000)} <= set(found)
    assert found[-1] == (20_000, "z@example.com")
    assert len(found) + len(rejected) == len(lines) - 1


def test_rejects_lines_without_the_column(tmp_path: Path) -> None:
    """A line that ends too early is rejected with its number, reason and text; the others are read."""
    found, rejected = _read(_write(tmp_path, "name,email\nAnna\nBen,ben@example.com\n"))
    assert found == [(3, "ben@example.com")]
    assert rejected == [RejectedLine(2, "The line ends before column 2, where the addresses are.", "Anna")]


@pytest.mark.parametrize("cell", ["x" * 200_000, "x" * 3_000_000, '"' + "x\n" * 100_000 + '"'])
def test_huge_cells(tmp_path: Path, cell: str) -> None:
    """A cell of megabytes neither fills the memory nor hides the lines around it."""
    path = _write(tmp_path, f"email,note\na@b.com,1\nb@b.com,{cell}\nc@b.com,3\n")
    found, rejected = _read(path)
    assert found[0] == (2, "a@b.com")
    assert found[-1] == (4 + cell.count("\n"), "c@b.com")
    assert rejected or "b@b.com" in {address for _, address in found}


def test_chunks(tmp_path: Path) -> None:
    """A file comes in chunks of the size asked for, and tells how far it is."""
    path = _write(tmp_path, "email\n" + "".join(f"a{i}@example.com\n" for i in range(10)))
    chunks = list(read_chunks(inspect(path), 4))
    assert [len(chunk.lines) for chunk in chunks] == [4, 4, 2]
    assert chunks[-1].bytes_done == path.stat().st_size


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text(max_size=20), st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}\.com", fullmatch=True))),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str, line_end: str
) -> None:
    """Whatever text stands in the other columns, the addresses are found, all of them and in order."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows([("note", "email"), *rows])
    path = tmp_path_factory.mktemp("csv") / "contacts.csv"
    path.write_text(text.getvalue(), encoding="utf-8-sig", newline="", errors="replace")
    if rows:
        assert [address for _, address in _read(path)[0]] == [address for _, address in rows]
