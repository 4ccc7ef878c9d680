"""Addresses stay in the tables: what a database says about a row that it refuses does not quote it."""

import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError

from bouncer.storage.engine import write
from bouncer.storage.tables import Contact

MARKED = "marked.person@private.example"


def test_a_refused_row_is_not_quoted_in_the_error(engine: Engine) -> None:
    """A key that is taken twice is told without the address that it is about."""

    def refuse(connection: Connection) -> None:
        connection.execute(text("CREATE UNIQUE INDEX only_once ON Contacts_Global (email)"))
        connection.execute(insert(Contact), [{"email": MARKED}, {"email": MARKED}])

    with pytest.raises(DBAPIError) as refused:
        write(engine, refuse)
    assert MARKED not in str(refused.value)
    assert MARKED not in repr(refused.value.orig)
