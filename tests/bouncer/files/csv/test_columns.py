"""The right column is verified, or none: its header decides, and where that is not clear, a person."""

import codecs
from pathlib import Path

import pytest

from bouncer.errors import InputRefused
from bouncer.files.csv.reading import inspect


def _write(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join([*lines, ""]), encoding=encoding)
    return path


def _column(path: Path, column: str | None = None) -> str:
    return inspect(path, column).column_name


def _refusal(path: Path, column: str | None = None) -> str:
    with pytest.raises(InputRefused) as refused:
        inspect(path, column)
    assert "\n" not in str(refused.value)
    assert "@mole.example" not in str(refused.value)
    return str(refused.value)


def test_the_owner_of_all_contacts_is_not_verified_for_them(tmp_path: Path) -> None:
    """A known header wins over a column that merely holds addresses, even where its own stand behind names."""
    rows = [f"Kunde {i} <kunde{i}@mole.example>,berta@seller.example" for i in range(30)]
    assert _column(_write(tmp_path, "Email,Account Owner", *rows)) == "Email"


def test_mailboxes_of_exchange_do_not_lead_to_private_addresses(tmp_path: Path) -> None:
    """The first address of a contact is meant, where most of them are X.500 names too."""
    rows = [f"/o=Mole/ou=A/cn=Recipients/cn=u{i},p{i}@private.example" for i in range(7)]
    rows += [f"u{i}@mole.example," for i in range(7, 10)]
    assert _column(_write(tmp_path, "E-mail Address,E-mail 2 Address", *rows)) == "E-mail Address"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("E-mail 1 - Type,E-mail 1 - Value,E-mail 2 - Type,E-mail 2 - Value", "E-mail 1 - Value"),
        ("Type,Primary Email,Type,Secondary Email", "Primary Email"),
        ("x,E-Mail-Adresse,y,E-Mail 2: Adresse", "E-Mail-Adresse"),
        ("x,Adresse de messagerie,y,Adresse de messagerie 2", "Adresse de messagerie"),
        ("x,電子メール アドレス,y,電子メール 2 アドレス", "電子メール アドレス"),
        ("x,Email,y,Additional email addresses", "Email"),
        ("x,Email,y,Owner Email", "Email"),
    ],
)
def test_the_first_of_several_addresses_of_a_contact(tmp_path: Path, header: str, expected: str) -> None:
    """Contact books number the addresses of a contact; the first is taken, however full the others are."""
    rows = [f",a{i}@mole.example,,b{i}@mole.example" for i in range(5)]
    assert _column(_write(tmp_path, header, *rows)) == expected


def test_two_known_headers_are_for_a_person_to_choose_between(tmp_path: Path) -> None:
    """Both are named, each with an example that does not tell an address."""
    path = _write(tmp_path, "Email,Work Email", "ines@mole.example,mohr@mole.example", "jan@mole.example,")
    message = _refusal(path)
    assert "Email, Work Email; name one with --column" in message
    assert "Email holds 2, such as i…@m….example; Work Email holds 1, such as m…@m….example" in message
    assert _column(path, "Work Email") == "Work Email"


def test_a_known_header_over_hardly_any_addresses_is_for_a_person_too(tmp_path: Path) -> None:
    """An empty column called Email beside one that is full of addresses is not taken, and neither is the other."""
    rows = [f"{'ines@mole.example' if i == 5 else ''},l{i}@mole.example" for i in range(40)]
    path = _write(tmp_path, "Email,Login", *rows)
    assert "Email holds 1, such as i…@m….example; Login holds 40, such as l…@m….example" in _refusal(path)
    assert _column(path, "login") == "Login"


def test_a_rare_second_known_header_does_not_stop(tmp_path: Path) -> None:
    """Where the other known column holds hardly any addresses, there is nothing to choose."""
    rows = [f"a{i}@mole.example,{'b@mole.example' if i == 3 else ''}" for i in range(40)]
    assert _column(_write(tmp_path, "Email,Work Email", *rows)) == "Email"


def test_the_whole_file_is_looked_through(tmp_path: Path) -> None:
    """Addresses that begin far down decide as those at the top do."""
    rows = [",x" for _ in range(5_000)] + [f"a{i}@mole.example,x" for i in range(10)]
    assert _column(_write(tmp_path, "Kontakt,Note", *rows)) == "Kontakt"
    rows = ["a@mole.example,x"] + [f",b{i}@mole.example" for i in range(5_000)]
    assert "Mail holds 1" in _refusal(_write(tmp_path, "Mail,Login", *rows))


@pytest.mark.parametrize("header", ["\ufeffEmail", "Em\u200bail\u200b", "\u00a0Email\u00a0", "\u2060Email\u200e"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_invisible_characters_in_a_header_hide_no_column(tmp_path: Path, header: str, mark: bytes) -> None:
    """The column is found, and can be named, as the eye sees it."""
    path = _write(tmp_path, f'"{header}","Owner"', '"ines@mole.example","berta@seller.example"')
    path.write_bytes(mark + path.read_bytes())
    assert _column(path) == "Email"
    assert _column(path, " email") == "Email"
    assert _column(path, header) == "Email"


def test_two_columns_of_one_name_are_told_apart_by_number(tmp_path: Path) -> None:
    """Naming one of them by the name that both have is refused; the number decides."""
    path = _write(tmp_path, "Email,Email", "ines@mole.example,berta@seller.example")
    assert "column 1 holds 1, such as i…@m….example; column 2 holds 1, such as b…@s….example" in _refusal(path)
    assert "--column 1 or --column 2" in _refusal(path, "email")
    assert inspect(path, "2").column == 1


def test_glued_files_keep_the_first_line_of_each(tmp_path: Path) -> None:
    """Files without header, each with its own mark, are one list of addresses."""
    path = _write(tmp_path, "\ufeffa@mole.example", "b@mole.example", "\ufeffc@mole.example", "d@mole.example")
    layout = inspect(path)
    assert (layout.header, layout.column_name) == (False, "column 1")
