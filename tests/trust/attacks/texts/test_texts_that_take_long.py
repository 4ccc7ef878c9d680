"""Texts of strangers that take the square of their length, or worse: one cell held an import up for minutes."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bouncer.addresses.normalisation import InvalidAddress, normalise
from bouncer.erasure.addresses import Wanted
from bouncer.errors import InputRefused
from bouncer.files.address_cells import addresses_in, holds_address, take_address
from bouncer.files.csv.cells import harmless, harmless_behind_commas, without_guard
from bouncer.files.csv.formats import refuse_other_formats
from bouncer.probe.transcript import Transcript
from bouncer.safe_text import clean_message, in_event, in_markdown, visible
from bouncer.safe_urls import has_password, without_secrets

_LETTERS = 40_000
_TEXTS = [
    *("a", "@", " ", "\t", ";", "(", "<", "'", '"', "-", ".", "{", "|", "ü", "\u200b", "\r", "\0"),
    *("a@", "a.", "a;", "; ", "\t ", ' "', "a(", "/o=", "/o=/cn=", "a@a.", "a@b.c ", "a@b.c;", ";,.:", "-- ", "a\t"),
    *("www.", "://", "mailto:", "a@b(", "<a@", "a@b <", "\t'", ";'", "'=", ",'", ",=", '"@', 'x"@', "[a@", "a@["),
    *("://a:", "://a:b/", "::", "/@"),
]
_BEGINNINGS = ("", "<a@", "x://")
_ENDS = ("", "x")
_FUNCTIONS: tuple[Callable[[str], object], ...] = (
    *(take_address, addresses_in, holds_address, normalise),
    *(harmless, harmless_behind_commas, without_guard),
    *(clean_message, in_event, in_markdown, visible, Wanted.of("ann@example.com").is_in),
    *(lambda text: Transcript("key").add("GET /", None, 200, {}, {"message": text}), without_secrets, has_password),
)


@pytest.mark.parametrize("text", _TEXTS)
def test_no_text_takes_the_square_of_its_length(text: str) -> None:
    """However it begins and ends; 40,000 letters are milliseconds, and were ten seconds and more."""
    for function in _FUNCTIONS:
        began = time.process_time()
        for beginning in _BEGINNINGS:
            for end in _ENDS:
                whole = f"{beginning}{text * (_LETTERS // len(text))}{end}"
                with contextlib.suppress(InvalidAddress):
                    function(whole)
        assert time.process_time() - began < 3, function


@pytest.mark.parametrize("head", ["-- " * 1_000, "-- x\n" * 800, "--" + " " * 4_000, "version:" + " " * 4_000])
def test_no_beginning_of_a_list_takes_for_ever(head: str, tmp_path: Path) -> None:
    """Comments of SQL were tried in every way that they can be parted, which never ended."""
    file = tmp_path / "list.csv"
    file.write_text(head + "x")
    began = time.process_time()
    refuse_other_formats(file, "utf-8", "list.csv")
    assert time.process_time() - began < 1
    file.write_text("-- a dump\n--\n\nINSERT INTO contacts VALUES (1)")
    with pytest.raises(InputRefused, match="an SQL script"):
        refuse_other_formats(file, "utf-8", "list.csv")
