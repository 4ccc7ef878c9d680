"""Lists in the shapes that mail programs, contact books and CRMs export come in and go back whole."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bouncer.files.csv.reading import inspect
from bouncer.files.importing import import_contacts
from bouncer.files.lists.results import Choice, write_list
from tests.bouncer.contacts import claim, load_verdicts, sent, verdicts, verify


@dataclass(frozen=True)
class _Shape:
    # A header as the program writes it, the column of addresses, and the dress of the file.
    header: str
    column: str
    delimiter: str = ","
    encoding: str = "utf-8"
    line_end: str = "\n"


_SHAPES = {
    "Outlook": _Shape(
        "Title,First Name,Middle Name,Last Name,Company,Job Title,Business Phone,E-mail Address,E-mail Type,"
        "E-mail Display Name,E-mail 2 Address,E-mail 2 Type,E-mail 2 Display Name,Notes",
        "E-mail Address",
        encoding="cp1252",
        line_end="\r\n",
    ),
    "Outlook, German": _Shape(
        "Anrede;Vorname;Nachname;Firma;E-Mail-Adresse;E-Mail-Typ;E-Mail: Angezeigter Name;E-Mail 2: Adresse;Notizen",
        "E-Mail-Adresse",
        delimiter=";",
        encoding="cp1252",
        line_end="\r\n",
    ),
    "Google Contacts": _Shape(
        "First Name,Middle Name,Last Name,Nickname,Organization Name,Birthday,Notes,Photo,Labels,E-mail 1 - Label,"
        "E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,Phone 1 - Label,Phone 1 - Value",
        "E-mail 1 - Value",
    ),
    "HubSpot": _Shape(
        "Record ID,First Name,Last Name,Email,Phone Number,Contact owner,Lead Status,Create Date,Associated Company",
        "Email",
    ),
    "Mailchimp": _Shape(
        "Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,LAST_CHANGED,LEID,EUID,TAGS",
        "Email Address",
    ),
    "Salesforce": _Shape("Salutation,First Name,Last Name,Title,Account Name,Phone,Email,Contact Owner", "Email"),
    "Excel, German": _Shape("Name;E-Mail;Umsatz;Ort", "E-Mail", ";", "utf-8-sig", "\r\n"),
    "Excel, French": _Shape("Nom;Prénom;Adresse e-mail;Société", "Adresse e-mail", ";", "cp1252", "\r\n"),
    "Excel, Japanese": _Shape("名前,メールアドレス,会社名", "メールアドレス", ",", "utf-8-sig", "\r\n"),
    "Excel, Unicode text": _Shape("Name\tE-Mail\tOrt", "E-Mail", "\t", "utf-16", "\r\n"),
    "Thunderbird": _Shape(
        "First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Screen Name,Work Phone,Notes",
        "Primary Email",
    ),
    "a phone": _Shape("Display Name,Mobile,Home,E-mail 1,E-mail 2,Organization", "E-mail 1"),
}
_OWNERS = {"Contact owner", "Contact Owner"}


def _row(shape: _Shape, number: int) -> list[str]:
    further = ("E-mail 2 Address", "E-Mail 2: Adresse", "E-mail 2 - Value", "Secondary Email", "E-mail 2")
    cells = []
    for name in shape.header.split(shape.delimiter):
        if name == shape.column:
            cells.append(f"Person.{number}@mole.example")
        elif name in further:
            cells.append(f"private{number}@home.example" if number % 2 else "")
        elif name in _OWNERS:
            cells.append("berta@seller.example")
        else:
            cells.append(f"Wert {number}, „é“"[: 10 if shape.encoding == "cp1252" else 20])
    return cells


@pytest.mark.parametrize("shape", _SHAPES.values(), ids=_SHAPES)
def test_a_list_comes_back_whole(engine: Engine, tmp_path: Path, shape: _Shape) -> None:
    """The right column is verified, and every cell comes back where it was, with the verdict behind."""
    header = shape.header.split(shape.delimiter)
    rows = [_row(shape, number) for number in range(1, 8)]
    source = tmp_path / "list.csv"
    with source.open("w", encoding=shape.encoding, newline="") as file:
        writer = csv.writer(file, delimiter=shape.delimiter, lineterminator=shape.line_end)
        writer.writerows([header, *rows])
    report = import_contacts(engine, source)
    assert (report.column, report.queued, report.rejected) == (shape.column, 7, 0)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(sent(engine, batch.id)))
    result = tmp_path / "result.csv"
    assert write_list(engine, inspect(source), report.request_id, str(result), Choice()).advice == {"send": 7}
    with result.open(encoding="utf-8", newline="") as file:
        back = list(csv.reader(file))
    width = len(header)
    assert [line[:width] for line in back] == [header, *rows]
    assert back[0][width : width + 3] == ["advice", "advice_reason", "status"]
    again = import_contacts(engine, result, request_name="again")
    assert (again.column, again.queued, again.created) == (shape.column, 7, 0)
    assert claim(engine).reused == 7
