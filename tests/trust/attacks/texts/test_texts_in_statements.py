"""Texts of strangers that become statements of SQL, by the character set in which they are sent."""

import itertools

import pytest
from pymysql.charset import _charsets  # by its own list, which has no other door
from sqlalchemy import text

from bouncer.errors import SettingRefused
from bouncer.storage.engine import engine_for, read

_NAMES = sorted({charset.name for charset in _charsets._by_id.values()})
_ENCODING = {charset.name: charset.encoding for charset in _charsets._by_id.values()}
_LETTERS = [*itertools.chain(range(0xD800), range(0xE000, 0x10000))]


def _ends_a_text(letter: str, encoding: str) -> bool:
    try:
        sent = letter.encode(encoding)
    except UnicodeEncodeError:
        return False
    return letter not in "\\'" and (b"\\" in sent or b"'" in sent)


@pytest.mark.parametrize("charset", ["utf8", *_NAMES])
def test_no_character_set_ends_a_text(charset: str) -> None:
    """In sjis a yen sign is sent as a backslash, so that the name of a file was a statement."""
    url = f"mysql://user:word@127.0.0.1:1/name?charset={charset}"
    if charset in {"utf8", "utf8mb3", "utf8mb4"}:
        assert engine_for(url).url.query["charset"] == charset
        assert not any(_ends_a_text(chr(number), _ENCODING.get(charset, "utf8")) for number in _LETTERS)
    else:
        with pytest.raises(SettingRefused, match="charset has a value that cannot be used"):
            engine_for(url)


@pytest.mark.parametrize("charset", ["utf8", "utf8mb4", "utf8mb3"])
def test_character_sets_that_can_be_chosen_work(server_url: str, charset: str) -> None:
    """A text comes back as it went."""
    engine = engine_for(f"{server_url}?charset={charset}")
    name = "x¥', (SELECT 'stolen')) -- "
    assert read(engine, lambda connection: connection.scalar(text("SELECT :name"), {"name": name})) == name
    engine.dispose()
