"""Rows come over to the database as they are, for statements to work on."""

from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    String,
    Text,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from bouncer.storage.bulk import stage
from bouncer.storage.engine import engine_for, write
from bouncer.storage.tables import User
from tests.database_server import DatabaseServer

_TEXTS = ["", "plain", 'it\'s "quoted"', "back\\slash", "100 %s %", "Ünïcödé 漢字 😀", "line\nend\0", None]


def test_values_arrive_as_they_are(engine: Engine) -> None:
    """Texts with every kind of quote, bytes, numbers, times and gaps are the same on the other side."""
    columns: dict[str, TypeEngine[Any]] = {
        "number": Integer(),
        "key": String(100),
        "long": Text(),
        "digest": LargeBinary(4),
        "moment": DateTime(),
        "document": JSON(),
    }
    size = len(_TEXTS)
    frame = pd.DataFrame(
        {
            "unused": range(size),
            "number": [1, -2, None, 4, 5, 6, 7, 8],
            "key": _TEXTS,
            "long": _TEXTS[::-1],
            "digest": [b"\0\xff'\\", None, *[b"abcd"] * (size - 2)],
            "moment": [datetime(2026, 1, 2, 3, 4, 5), pd.NaT, *[datetime(2000, 1, 1)] * (size - 2)],  # noqa: DTZ001  # stored without a zone
            "document": ['{"a": "\'"}', None, *["[]"] * (size - 2)],
        }
    )
    with engine.begin() as connection:
        staged = stage(connection, "staged", columns, frame)
        rows = connection.execute(
            select(staged.c.number, staged.c.key, staged.c.long, staged.c.digest, staged.c.moment)
        ).all()
        documents = connection.execute(select(staged.c.document)).all()
    assert [row.number for row in rows] == [1, -2, None, 4, 5, 6, 7, 8]
    assert [row.key for row in rows] == _TEXTS
    assert [row.long for row in rows] == _TEXTS[::-1]
    assert [row.digest for row in rows[:3]] == [b"\0\xff'\\", None, b"abcd"]
    assert [row.moment for row in rows[:2]] == [datetime(2026, 1, 2, 3, 4, 5), None]  # noqa: DTZ001  # as above
    assert len(documents) == size


def test_replaces_its_own_table(engine: Engine) -> None:
    """Staging under the same name again leaves only the new rows, also on a connection that was used before."""

    def stage_twice(connection: Connection) -> int | None:
        frame = pd.DataFrame({"number": range(50_000)})
        first = stage(connection, "staged", {"number": Integer()}, frame)
        assert connection.scalar(select(func.sum(first.c.number))) == sum(range(50_000))
        second = stage(connection, "staged", {"number": Integer()}, frame[:10])
        return connection.scalar(select(func.count()).select_from(second))

    assert write(engine, stage_twice) == 10
    assert write(engine, stage_twice) == 10


def test_no_rows(engine: Engine) -> None:
    """A frame without rows gives an empty table."""
    with engine.begin() as connection:
        staged = stage(connection, "staged", {"number": Integer()}, pd.DataFrame({"number": []}))
        assert connection.execute(select(staged)).all() == []


def test_does_not_commit(engine: Engine) -> None:
    """What the transaction did before is undone with it."""
    with engine.execution_options(writes=True).connect() as connection, connection.begin() as transaction:
        connection.execute(insert(User).values(email="anna@example.com"))
        stage(connection, "staged", {"number": Integer()}, pd.DataFrame({"number": [1]}))
        transaction.rollback()
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(User)) == 0


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_holds_every_character(server: DatabaseServer, server_url: str, scheme: str) -> None:
    """What the database's own character set is makes no difference."""
    database = make_url(server_url).database
    server.execute(f"ALTER DATABASE {database} CHARACTER SET latin1")
    engine = engine_for(server_url.replace("mysql+pymysql", scheme))
    with engine.begin() as connection:
        staged = stage(connection, "staged", {"name": String(50)}, pd.DataFrame({"name": ["漢字 😀"]}))
        assert connection.scalar(select(staged.c.name)) == "漢字 😀"
    engine.dispose()


def test_errors_do_not_quote_rows(server_url: str) -> None:
    """Where the server refuses a row, the error's text has no address in it, in no form."""
    address = f"anna@{'x' * 100}.example"
    engine = engine_for(server_url)
    with engine.connect() as connection, connection.begin(), pytest.raises(DBAPIError) as refused:
        stage(connection, "staged", {"address": String(50)}, pd.DataFrame({"address": [address]}))
    engine.dispose()
    assert "INSERT INTO staged" in str(refused.value)
    assert "anna" not in str(refused.value)
    assert b"anna".hex() not in str(refused.value)
