"""Gives the application's contacts the address keys by which equal addresses find each other."""

import pandas as pd
from sqlalchemy import BigInteger, Connection, Engine, LargeBinary, select, update

from bouncer.addresses import normalise_all
from bouncer.database import write
from bouncer.staging import stage
from bouncer.tables import Contact

__all__ = ["fill_address_keys"]

_STEP_ROWS = 20_000


def fill_address_keys(engine: Engine) -> None:
    """Computes the keys that contacts lack, in steps; costs one query where none does.

    Contacts whose address cannot be mailed to stay without. What a crash interrupts, the next call does.

    Args:
        engine: The contacts database.

    Raises:
        DatabaseUnavailable: The database was away for too long.
    """
    done: int | None = -1
    while done is not None:
        done = write(engine, _fill_some, done)


def _fill_some(connection: Connection, after: int) -> int | None:
    rows = connection.execute(
        select(Contact.global_id, Contact.email)
        .where(Contact.bouncer_address_key.is_(None), Contact.global_id > after)
        .order_by(Contact.global_id)
        .limit(_STEP_ROWS)
    ).all()
    if not rows:
        return None
    contacts = pd.DataFrame(rows, columns=["global_id", "email"])
    contacts = contacts.join(normalise_all(contacts["email"])[["key"]]).dropna()
    keys = stage(
        connection,
        "address_keys",
        {"global_id": BigInteger(), "address_key": LargeBinary(16)},
        contacts.rename(columns={"key": "address_key"}),
    ).c
    connection.execute(
        update(Contact).where(Contact.global_id == keys.global_id).values(bouncer_address_key=keys.address_key)
    )
    return int(rows[-1].global_id)
