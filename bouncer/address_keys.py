"""Gives the application's contacts the address keys by which equal addresses find each other."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from sqlalchemy import BigInteger, Connection, Engine, LargeBinary, Row, select, update
from sqlalchemy.types import TypeEngine

from bouncer.addresses import normalise_all
from bouncer.database import write
from bouncer.reusing import VERDICT_OF_CONTACT
from bouncer.staging import stage
from bouncer.tables import Contact

__all__ = ["fill_address_keys", "renew_keys"]

_STEP_ROWS = 20_000
_KEYS: dict[str, TypeEngine[Any]] = {"global_id": BigInteger(), "address_key": LargeBinary(16)}


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


def renew_keys(connection: Connection, contacts: Sequence[Row[tuple[int, str, bytes | None]]]) -> int:
    """Gives contacts whose address was changed by the application the key of the one that they have now.

    Their verdict goes, which is on the other address. Safe to run twice.

    Args:
        connection: In a transaction that writes.
        contacts: ``global_id``, ``email`` and the key that is stored.

    Returns:
        How many had another key.
    """
    frame = pd.DataFrame(contacts, columns=["global_id", "email", "stored_key"])
    frame["address_key"] = normalise_all(frame["email"])["key"]
    changed = frame[frame["address_key"] != frame["stored_key"]].drop_duplicates("global_id")
    if not changed.empty:
        keys = stage(connection, "renewed_keys", _KEYS, changed).c
        connection.execute(
            update(Contact)
            .where(Contact.global_id == keys.global_id)
            .values(bouncer_address_key=keys.address_key, **dict.fromkeys(VERDICT_OF_CONTACT))
        )
    return len(changed)


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
    keys = stage(connection, "address_keys", _KEYS, contacts.rename(columns={"key": "address_key"})).c
    connection.execute(
        update(Contact).where(Contact.global_id == keys.global_id).values(bouncer_address_key=keys.address_key)
    )
    return int(rows[-1].global_id)
