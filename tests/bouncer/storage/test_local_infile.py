"""Rows by LOAD DATA LOCAL INFILE: the same rows as by INSERT, only where both sides allow it."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, Integer, LargeBinary, String, select
from sqlalchemy.types import JSON, DateTime, TypeEngine

from bouncer.errors import RowsAltered
from bouncer.storage.bulk import insert_all, stage
from bouncer.storage.engine import engine_for, write
from bouncer.storage.local_infile import can_load_files

_COLUMNS: dict[str, TypeEngine[Any]] = {
    "number": Integer(),
    "text": String(100),
    "digest": LargeBinary(16),
    "moment": DateTime(),
    "details": JSON(),
}
_TEXTS = ["plain", "it's", "tab\there", "line\nbreak", "back\\slash", "\\N", "", "grüße 🎉", "NULL", "a\r\nb", None]


@pytest.fixture
def engine(server_url: str) -> Iterator[Engine]:
    engine = engine_for(f"{server_url}?local_infile=1")
    yield engine
    engine.dispose()


def _rows() -> pd.DataFrame:
    count = len(_TEXTS)
    return pd.DataFrame(
        {
            "number": [None, *range(1, count)],
            "text": _TEXTS,
            "digest": [None, *(bytes([number, 0, 9, 10, 92, 255]) + bytes(10) for number in range(1, count))],
            "moment": [None, *pd.date_range("2026-01-01", periods=count - 1)],
            "details": [None, *('{"a\\\\": "b\\n"}' for _ in range(1, count))],
        }
    )


def test_every_value_arrives_as_it_was(engine: Engine) -> None:
    """Whatever a text or a digest has in it, a file carries it as a statement does."""
    rows = _rows()
    with engine.begin() as connection:
        assert can_load_files(connection)
        table = stage(connection, "staged", _COLUMNS, rows)
        found = connection.execute(select(table)).all()
    assert [row.text for row in found] == _TEXTS
    assert [row.number for row in found] == [None, *range(1, len(_TEXTS))]
    assert [row.digest for row in found] == list(rows["digest"])
    assert [row.moment for row in found] == [None, *(moment.to_pydatetime() for moment in rows["moment"][1:])]
    assert [row.details for row in found] == [None, *rows["details"][1:]]


def test_rows_of_the_same_key_are_replaced(engine: Engine) -> None:
    """REPLACE means the same by file."""
    columns: dict[str, TypeEngine[Any]] = {"id": Integer(), "word": String(10)}
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE words (id int PRIMARY KEY, word varchar(10))")
        for word in ("old", "new"):
            insert_all(connection, "REPLACE", "words", columns, pd.DataFrame({"id": [1], "word": [word]}))
        assert connection.exec_driver_sql("SELECT * FROM words").all() == [(1, "new")]


def test_a_row_that_the_server_would_change_is_refused(engine: Engine) -> None:
    """By file the server only warns where a statement fails; nothing may be stored other than it was."""
    with pytest.raises(RowsAltered, match="staged"):
        write(engine, stage, "staged", {"word": String(3)}, pd.DataFrame({"word": ["too long"]}))


def test_a_server_reads_no_file_unless_the_url_allows_it(server_url: str) -> None:
    """A server that is not to be trusted could ask for any file, so it is off unless a person turns it on."""
    engine = engine_for(server_url)
    with engine.begin() as connection:
        assert not can_load_files(connection)
    engine.dispose()
