"""What is no list is refused in one line that says what it is, before a request is made of it."""

from pathlib import Path

import pytest

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import inspect


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("BEGIN:VCARD\nVERSION:3.0\nFN:Ines Mohr\nEMAIL;TYPE=WORK:ines@mole.example\nEND:VCARD\n", "a vCard file"),
        ("\ufeffbegin:vcard\r\nEMAIL:ines@mole.example\r\nend:vcard\r\n", "a vCard file"),
        ("BEGIN:VCALENDAR\nATTENDEE:mailto:ines@mole.example\n", "a calendar file"),
        ('[{"email": "ines@mole.example"}]', "a JSON document"),
        ('{\n  "contacts": ["ines@mole.example"]}', "a JSON document"),
        ("<!DOCTYPE html>\n<table><tr><td>ines@mole.example</td></tr></table>", "an HTML or XML document"),
        ("\n<table>\n<tr><td>ines@mole.example</td></tr></table>", "an HTML or XML document"),
        ("<?xml version='1.0'?><c>ines@mole.example</c>", "an HTML or XML document"),
        ("dn: cn=Ines,mail=ines@mole.example\nmail: ines@mole.example\n", "an LDIF file"),
        ("Return-Path: <ines@mole.example>\nFrom: ines@mole.example\n", "a mail message"),
        ("INSERT INTO contacts VALUES ('ines@mole.example');\n", "an SQL script"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_other_forms_of_contacts_are_refused(tmp_path: Path, content: str, words: str, encoding: str) -> None:
    """Whatever its name and encoding, the file is told apart by how it begins."""
    path = tmp_path / "list.csv"
    path.write_bytes(content.encode(encoding))
    with pytest.raises(InputRefused) as refused:
        inspect(path)
    assert f"list.csv is {words}, not a list" in str(refused.value)


@pytest.mark.parametrize("line", ["<ines@mole.example>", "[ines@mole.example]", "{i}@mole.example,x"])
def test_addresses_in_brackets_are_a_list(tmp_path: Path, line: str) -> None:
    """A list that begins with a bracket is not taken for something else."""
    path = tmp_path / "list.csv"
    path.write_text(f"{line}\n{line}\n")
    inspect(path, "1")
