"""Lists in the shapes that mail programs, contact books and CRMs export come in and go back whole.

The headers are those of the programs themselves, from the source that each names; what stands below them is made up.
"""

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
    # A header as the program writes it, the column of addresses, where that is to be seen, and the dress of the file.
    header: str
    column: str
    source: str
    delimiter: str = ","
    encoding: str = "utf-8"
    line_end: str = "\n"


_SHAPES = {
    "Outlook": _Shape(
        "Title,First Name,Middle Name,Last Name,Suffix,Company,Department,Job Title,Business Street,Business Street 2,"
        "Business Street 3,Business City,Business State,Business Postal Code,Business Country/Region,Home Street,"
        "Home Street 2,Home Street 3,Home City,Home State,Home Postal Code,Home Country/Region,Other Street,"
        "Other Street 2,Other Street 3,Other City,Other State,Other Postal Code,Other Country/Region,"
        "Assistant's Phone,Business Fax,Business Phone,Business Phone 2,Callback,Car Phone,Company Main Phone,Home Fax,"
        "Home Phone,Home Phone 2,ISDN,Mobile Phone,Other Fax,Other Phone,Pager,Primary Phone,Radio Phone,"
        "TTY/TDD Phone,Telex,Account,Anniversary,Assistant's Name,Billing Information,Birthday,"
        "Business Address PO Box,Categories,Children,Directory Server,E-mail Address,E-mail Type,E-mail Display Name,"
        "E-mail 2 Address,E-mail 2 Type,E-mail 2 Display Name,E-mail 3 Address,E-mail 3 Type,E-mail 3 Display Name,"
        "Gender,Government ID Number,Hobby,Home Address PO Box,Initials,Internet Free Busy,Keywords,Language,Location,"
        "Manager's Name,Mileage,Notes,Office Location,Organizational ID Number,Other Address PO Box,Priority,Private,"
        "Profession,Referred By,Sensitivity,Spouse,User 1,User 2,User 3,User 4,Web Page",
        "E-mail Address",
        "Microsoft's template, support.microsoft.com: Create or edit .csv files to import into Outlook",
        encoding="cp1252",
        line_end="\r\n",
    ),
    "Outlook, German": _Shape(
        "Anrede;Vorname;Weitere Vornamen;Nachname;Suffix;Firma;Abteilung;Position;Straße geschäftlich;Ort geschäftlich;"
        "Telefon geschäftlich;Telefon (privat);Mobiltelefon;Benutzer 1;Beruf;Büro;E-Mail-Adresse;E-Mail-Typ;"
        "E-Mail: Angezeigter Name;E-Mail 2: Adresse;E-Mail 2: Typ;E-Mail 2: Angezeigter Name;E-Mail 3: Adresse;"
        "E-Mail 3: Typ;E-Mail 3: Angezeigter Name;Empfohlen von;Geburtstag;Geschlecht;Hobby;Initialen;"
        "Internet Frei/Gebucht;Jahrestag;Kategorien;Kinder;Konto;Notizen;Priorität;Privat;Webseite;Weiteres Postfach",
        "E-Mail-Adresse",
        "the German names that Open-Xchange's importer of Outlook files knows, in Outlook's order",
        delimiter=";",
        encoding="cp1252",
        line_end="\r\n",
    ),
    "Google Contacts": _Shape(
        "First Name,Middle Name,Last Name,Phonetic First Name,Phonetic Middle Name,Phonetic Last Name,Name Prefix,"
        "Name Suffix,Nickname,File As,Organization Name,Organization Title,Organization Department,Birthday,Notes,"
        "Photo,Labels,E-mail 1 - Label,E-mail 1 - Value,E-mail 2 - Label,E-mail 2 - Value,E-mail 3 - Label,"
        "E-mail 3 - Value,Phone 1 - Label,Phone 1 - Value",
        "E-mail 1 - Value",
        "contacts.google.com, export as Google CSV since 2024, as importers of it keep in their tests",
    ),
    "HubSpot": _Shape(
        "Record ID,First Name,Last Name,Email,Phone Number,Contact owner,Lead Status,Create Date,Last Modified Date,"
        "Contact Type,Lifecycle Stage,Lead Source,Stage of Journey,Next appointment date,Associated Deal,"
        "Associated Company,Associated Deal IDs",
        "Email",
        "HubSpot's export of a view of contacts, as importers of it keep in their tests",
    ),
    "Mailchimp": _Shape(
        "Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,LATITUDE,"
        "LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES",
        "Email Address",
        "github.com/buren/honey_format, spec/honey_format, an export of an audience",
    ),
    "Salesforce": _Shape(
        "ID,ISDELETED,MASTERRECORDID,ACCOUNTID,LASTNAME,FIRSTNAME,SALUTATION,MIDDLENAME,SUFFIX,NAME,MAILINGSTREET,"
        "MAILINGCITY,MAILINGSTATE,MAILINGPOSTALCODE,MAILINGCOUNTRY,PHONE,FAX,MOBILEPHONE,REPORTSTOID,EMAIL,TITLE,"
        "DEPARTMENT,DESCRIPTION,OWNERID,CREATEDDATE,CREATEDBYID,LASTMODIFIEDDATE,LASTMODIFIEDBYID,SYSTEMMODSTAMP,"
        "LASTACTIVITYDATE,EMAILBOUNCEDREASON,EMAILBOUNCEDDATE,ISEMAILBOUNCED",
        "EMAIL",
        "Salesforce's Object Reference, Contact; Data Loader writes the names of fields in capitals",
    ),
    "Excel, German": _Shape("Name;E-Mail;Umsatz;Ort", "E-Mail", "CSV UTF-8, by Excel", ";", "utf-8-sig", "\r\n"),
    "Excel, French": _Shape(
        "Nom;Prénom;Adresse e-mail;Société", "Adresse e-mail", "CSV (séparateur: point-virgule)", ";", "cp1252", "\r\n"
    ),
    "Excel, Japanese": _Shape(
        "氏名,メールアドレス,会社名", "メールアドレス", "CSV (コンマ区切り), by Excel: Shift JIS", ",", "cp932", "\r\n"
    ),
    "Excel, Japanese, UTF-8": _Shape(
        "名前,メールアドレス,会社名", "メールアドレス", "CSV UTF-8, by Excel", ",", "utf-8-sig", "\r\n"
    ),
    "Excel, Unicode text": _Shape("Name\tE-Mail\tOrt", "E-Mail", "Unicode-Text, by Excel", "\t", "utf-16", "\r\n"),
    "Thunderbird": _Shape(
        "First Name,Last Name,Display Name,Nickname,Primary Email,Secondary Email,Screen Name,Work Phone,Home Phone,"
        "Fax Number,Pager Number,Mobile Number,Home Address,Home Address 2,Home City,Home State,Home ZipCode,"
        "Home Country,Work Address,Work Address 2,Work City,Work State,Work ZipCode,Work Country,Job Title,Department,"
        "Organization,Web Page 1,Web Page 2,Birth Year,Birth Month,Birth Day,Custom 1,Custom 2,Custom 3,Custom 4,Notes",
        "Primary Email",
        "Thunderbird's export of an address book, as Tutanota's tests of its importer have it",
    ),
    "a phone": _Shape(
        "Title,First Name,Middle Name,Last Name,Suffix,Given Name Yomi,Family Name Yomi,Home Street,Home City,"
        "Home State,Home Postal Code,Home Country,Company,Department,Job Title,Office Location,Business Street,"
        "Business City,Business State,Business Postal Code,Business Country,Other Street,Other City,Other State,"
        "Other Postal Code,"
        "Other Country,Assistant's Phone,Business Fax,Business Phone,Business Phone 2,Callback,Car Phone,"
        "Company Main Phone,Home Fax,Home Phone,Home Phone 2,ISDN,Mobile Phone,Other Fax,Other Phone,Pager,"
        "Primary Phone,Radio Phone,TTY/TDD Phone,Telex,Anniversary,Birthday,E-mail Address,E-mail Type,"
        "E-mail 2 Address,E-mail 2 Type,E-mail 3 Address,E-mail 3 Type,Notes,Spouse,Web Page",
        "E-mail Address",
        "github.com/michalbe/csv2vcard, README.md: the contacts of a Windows phone, by live.com",
    ),
}
_OWNERS = {"Contact owner"}


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
            cells.append(f"値 {number}, 東京" if shape.encoding == "cp932" else f"Wert {number}, „é“")
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
