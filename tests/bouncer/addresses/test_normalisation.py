"""Addresses are accepted, normalised and told apart as the email-validator library would, only faster."""

import unicodedata

import pandas as pd
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bouncer.addresses.normalisation import (
    InvalidAddress,
    address_key,
    domain_hash,
    domain_of,
    normalise,
    normalise_all,
)

_LOCAL_PIECES = ["a", "Z", "9", ".", "-", "_", "+", "'", "/", '"', " ", "é", "e\u0301", "info", "a" * 31, "a" * 64]
_DOMAIN_PIECES = [
    *("a", "Z", "9", ".", ".", "-", "--", "_", "xn--", "xn--bcher-kva", "Bücher", "ß", "。", "m" * 30, "m" * 63),
    *("example", ".com", ".test", ".local", ".LOCALHOST", ".invalid", ".onion", ".arpa", ".1", ".c", "[127.0.0.1]"),
]
_addresses = st.builds(
    "{}@{}".format,
    st.lists(st.sampled_from(_LOCAL_PIECES), max_size=6).map("".join),
    st.lists(st.sampled_from(_DOMAIN_PIECES), max_size=8).map("".join),
)


def _by_library(address: str) -> str | None:
    if "\N{REPLACEMENT CHARACTER}" in address:
        # Which the library takes for a letter.
        return None
    try:
        checked = validate_email(address.strip(), strict=True, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return unicodedata.normalize("NFC", address.strip().partition("@")[0]) + "@" + checked.ascii_domain


def _normalised(address: str) -> str | None:
    try:
        return normalise(address)
    except InvalidAddress:
        return None


@settings(max_examples=1000, deadline=None)
@given(_addresses | st.emails() | st.text(max_size=40))
@example("a" * 64 + "@" + "m" * 60 + "." + "m" * 60 + "." + "m" * 60 + ".abc")
@example("a" * 64 + "@" + "m" * 60 + "." + "m" * 60 + "." + "m" * 60 + ".abcdefg")
@example("a@b.com\n")
@example("a@b\u212a.com")
@example("m\ufffdller@example.com")
def test_fast_path_decides_as_the_library(address: str) -> None:
    """No address is accepted that the library refuses, or the other way round, and both give one normal form."""
    assert _normalised(address) == _by_library(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("  Anna.Meyer+News@Example.COM\t", "Anna.Meyer+News@example.com"),
        ("INFO@Example.com", "INFO@example.com"),
        ("anna@Bücher.example", "anna@xn--bcher-kva.example"),
        ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
        ("änne@example.com", "änne@example.com"),
        ("a\u0308nne@example.com", "änne@example.com"),
        ("deliverable+1@sandbox.usebouncer.com", "deliverable+1@sandbox.usebouncer.com"),
        ("anna@test", "anna@test"),
        ("anna@mail.test", "anna@mail.test"),
    ],
)
def test_normal_form(address: str, expected: str) -> None:
    """White space goes, the domain is in lower case and ASCII, and the local part stays as it was sent."""
    assert normalise(address) == expected


def test_an_address_that_was_damaged_in_decoding_is_refused() -> None:
    """An address with a character that nobody could read was once queued, sent and paid for."""
    with pytest.raises(InvalidAddress, match="was lost when it was read in the wrong encoding"):
        normalise("m\N{REPLACEMENT CHARACTER}ller@example.com")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "anna",
        "anna@",
        "@example.com",
        "anna@example",
        "anna@@example.com",
        "anna@exa mple.com",
        "anna meyer@example.com",
        "Anna <anna@example.com>",
        '"anna meyer"@example.com',
        '"anna"@example.com',
        "anna@[127.0.0.1]",
        "anna@printer.local",
        "anna..meyer@example.com",
        "anna@-example.com",
        "anna@example.com.",
        "anna\0@example.com",
        "a" * 65 + "@example.com",
        "a" * 1_000_000 + "@example.com",
    ],
)
def test_refused_with_a_reason(address: str) -> None:
    """What cannot be mailed to is refused in one line that does not repeat it and that any column can store."""
    with pytest.raises(InvalidAddress) as refused:
        normalise(address)
    reason = str(refused.value)
    assert reason.isascii()
    assert "\n" not in reason
    assert len(reason) < 200
    assert "anna" not in reason


def test_reasons_do_not_quote_the_domain() -> None:
    """The reason why a domain is no valid Punycode does not tell the domain."""
    with pytest.raises(InvalidAddress) as refused:
        normalise("anna@xn--secretcompany-.com")
    assert "secret" not in str(refused.value)


@given(st.emails())
def test_case_makes_no_other_address(address: str) -> None:
    """Addresses that differ in case only have one key."""
    assert address_key(address) == address_key(address.upper()) == address_key(address.lower())


def test_keys_and_hashes() -> None:
    """Keys have the 16 bytes of their column, hashes of domains fit theirs, and other addresses have others."""
    assert len(address_key("anna@example.com")) == 16
    assert address_key("anna@example.com") != address_key("anne@example.com")
    assert len(domain_hash("example.com")) <= 64
    assert domain_hash("example.com") != domain_hash("example.org")
    assert domain_of("anna@example.com") == "example.com"


def test_many_at_once() -> None:
    """Each address of a column gets its normal form, key and domain, or the reason why it has none, in its place."""
    column = pd.Series(["Anna@Example.com", "nobody", None, "ben@example.org"], index=[7, 3, 5, 1], dtype=object)
    checked = normalise_all(column)
    assert list(checked.index) == [7, 3, 5, 1]
    assert checked["address"].dropna().to_dict() == {7: "Anna@example.com", 1: "ben@example.org"}
    assert checked["domain"].dropna().to_dict() == {7: "example.com", 1: "example.org"}
    assert checked.loc[1, "key"] == address_key("ben@example.org")
    assert list(checked["reason"].notna()) == [False, True, True, False]
    assert normalise_all(pd.Series([], dtype=object)).empty
