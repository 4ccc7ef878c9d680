"""Lists that are small where they come from, or on their way, and fill the disk or the memory of who opens them."""

import gzip
import io
import sys
import tempfile
from pathlib import Path

import pytest

from bouncer.errors import InputRefused
from bouncer.files.lists import sources
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


def test_a_url_of_another_kind_fills_no_disk(bound: Path, tmp_path: Path) -> None:
    """Whatever fsspec knows."""
    (tmp_path / "list.csv").write_bytes(_MUCH)
    _refused((tmp_path / "list.csv").as_uri(), "more than 1 MB; save it to a file")
    assert not list(bound.iterdir())


def test_standard_input_fills_no_disk(bound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``curl … | bouncer-flows verify -`` is a list of a server too."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(_MUCH)))
    _refused("-", "standard input has more than 1 MB; save it to a file")
    assert not list(bound.iterdir())


@pytest.mark.parametrize("body", [_LIST, gzip.compress(_LIST)])
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
