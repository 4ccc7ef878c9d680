"""Addresses are taken out of cells as people fill them; what is left in doubt is rejected with its reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bouncer.addresses.normalisation import InvalidAddress, address_key
from bouncer.files.address_cells import addresses_in, masked, take_address
from bouncer.files.checked_cells import check_cells
from bouncer.files.csv.cells import harmless

_ADDRESS = "ines@mole.example.org"


@pytest.mark.parametrize(
    ("cell", "taken_off"),
    [
        (_ADDRESS, set()),
        (f"  {_ADDRESS}\t", set()),
        (f"\u00a0{_ADDRESS}\u3000", set()),
        (f"Ines Mohr <{_ADDRESS}>", {"names and brackets"}),
        (f'"Mohr, Ines" <{_ADDRESS}>', {"names and brackets"}),
        (f"Mohr, Ines <{_ADDRESS}>", {"names and brackets"}),
        (f"<{_ADDRESS}>", {"names and brackets"}),
        (f"'{_ADDRESS}' <{_ADDRESS}>", {"names and brackets"}),
        (f"Ines Mohr [mailto:{_ADDRESS}]", {"names and brackets", "mailto:"}),
        (f"Ines Mohr ({_ADDRESS})", {"names and brackets"}),
        (f"{_ADDRESS} (Ines Mohr)", {"names and brackets"}),
        (f"{_ADDRESS}; INES@mole.example.org", {"names and brackets"}),
        (f"mailto:{_ADDRESS}", {"mailto:"}),
        (f"MailTo:{_ADDRESS}?subject=Hello&body=you", {"mailto:"}),
        ("mailto:ines%40mole.example.org", {"mailto:"}),
        (f"'{_ADDRESS}'", {"quotes"}),
        (f'"{_ADDRESS}"', {"quotes"}),
        (f"„{_ADDRESS}“", {"quotes"}),
        (f"«{_ADDRESS}»", {"quotes"}),
        (f"{_ADDRESS};", {"punctuation"}),
        (f"{_ADDRESS},", {"punctuation"}),
        (f"{_ADDRESS}.", {"punctuation"}),
        (f"{_ADDRESS}。", {"punctuation"}),
        (f"<{_ADDRESS}", {"punctuation"}),
        (f"\ufeff{_ADDRESS}", {"invisible characters"}),
        (f"{_ADDRESS}\u200b", {"invisible characters"}),
        (f"\u200e{_ADDRESS}\u200f", {"invisible characters"}),
        (f"\u202a{_ADDRESS}\u202c", {"invisible characters"}),
        (f"\u2060'\u00ad{_ADDRESS}'\u3164", {"invisible characters", "quotes"}),
    ],
)
def test_takes_off_what_surrounds_an_address(cell: str, taken_off: set[str]) -> None:
    """Names, brackets, mailto:, quotes, punctuation and invisible characters at the edge are no part of an address."""
    assert take_address(cell) == (_ADDRESS, taken_off)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("ines@mole.example.org; jan@mole.example.org", "The cell holds 2 addresses"),
        ("ines@mole.example.org, jan@mole.example.org,", "The cell holds 2 addresses"),
        ("ines@mole.example.org / jan@mole.example.org", "The cell holds 2 addresses"),
        ("ines@mole.example.org ::: jan@mole.example.org ::: kai@mole.example.org", "The cell holds 3 addresses"),
        ("Ines <ines@mole.example.org>, Jan <jan@mole.example.org>", "The cell holds 2 addresses"),
        ("jan@mole.example.org <ines@mole.example.org>", "The cell holds 2 addresses"),
        ("mailto:ines@mole.example.org?cc=jan@mole.example.org", "The cell holds 2 addresses"),
        ("in\u00ades@mole.example.org", "U+00AD, SOFT HYPHEN"),
        ("ines@mo\u200ble.example.org", "U+200B, ZERO WIDTH SPACE"),
        ("in\u2060es@mole.example.org", "U+2060, WORD JOINER"),
        ("/o=Mole AG/ou=First/cn=Recipients/cn=ines", "X.500 name"),
    ],
)
def test_rejects_what_is_in_doubt(cell: str, reason: str) -> None:
    """Of two addresses none is taken, and an address with something invisible within is not mended by guessing."""
    with pytest.raises(InvalidAddress) as rejected:
        take_address(cell)
    assert reason in str(rejected.value)
    assert "mole.example" not in str(rejected.value)


@pytest.mark.parametrize("cell", ["o'hara@mole.example", "'ines@mole.example", '"i n"@mole.example', "i@[127.0.0.1]"])
def test_leaves_what_belongs_to_an_address(cell: str) -> None:
    """An apostrophe, a quoted local part and an address literal are the address's own."""
    assert take_address(cell) == (cell, frozenset())


def test_free_text_is_no_address() -> None:
    """A remark that mentions an address is not taken for it."""
    (checked,) = check_cells(["please ask ines@mole.example.org first"]).addresses
    assert checked.reason is not None


def test_splits_cells_on_demand() -> None:
    """On demand, each address of a cell counts by itself, with the cell that it comes from."""
    checked = check_cells(["a@mole.example", "B@mole.example; c@mole.example.", "nobody"], split=True)
    valid = [one.address for one in checked.addresses if one.reason is None]
    assert valid == ["a@mole.example", "B@mole.example", "c@mole.example"]
    assert [one.cell for one in checked.addresses] == [0, 1, 1, 2]
    assert checked.taken_off == {"cells split": 1}


def test_counts_what_was_taken_off() -> None:
    """Each cell counts once for each kind of thing that surrounded its address."""
    checked = check_cells(["A <a@mole.example>", "<mailto:b@mole.example>", "c@mole.example", "'d@mole.example'"])
    assert checked.taken_off == {"names and brackets": 2, "mailto:": 1, "quotes": 1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("groß@weg.example", "gross@weg.example", False),
        ("straße@weg.example", "STRASSE@weg.example", False),
        ("STRAßE@weg.example", "straße@weg.example", True),
        ("STRAẞE@weg.example", "straße@weg.example", True),
        ("ÉLODIE@weg.example", "élodie@weg.example", True),
        ("ΝΙΚΟΣ@weg.example", "νικος@weg.example", True),
        ("ﬁlm@weg.example", "film@weg.example", False),
        ("Anna@weg.example", "aNNA@weg.example", True),
    ],
)
def test_letter_case_is_no_difference_and_sharp_s_is_one(one: str, other: str, same: bool) -> None:
    """Addresses that differ in case share a verdict; ß and ss are two mailboxes."""
    assert (address_key(one) == address_key(other)) is same


def test_examples_tell_nobody_whose_address_it_is() -> None:
    """A message may show how an address looks, not which it is."""
    assert masked("Ines Mohr <ines.mohr@mole.example.org>") == "i…@m….org"


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[a-z=+'\-][a-z0-9=+'.\-]{0,8}@[a-z]{1,9}\.example", fullmatch=True))
def test_what_an_export_guarded_comes_back(address: str) -> None:
    """The ' that keeps a spreadsheet from running a cell is taken off again."""
    if address[1:2] not in set("=+-") or address[0] != "'":
        assert take_address(harmless(address))[0] == take_address(address)[0]


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_taken_or_rejected(cell: str) -> None:
    """No text breaks the search for its address, and what is taken has nothing invisible at its edges."""
    addresses_in(cell)
    masked(cell)
    try:
        text, _ = take_address(cell)
    except InvalidAddress:
        return
    assert text == text.strip("\u200b\ufeff\u00ad ")
