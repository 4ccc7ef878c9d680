"""Gives the application's contacts the address keys by which equal addresses find each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Connection, Engine, LargeBinary, Row, select, update
from sqlalchemy.types import TypeEngine

from bouncer.addresses.normalisation import normalise_all
from bouncer.storage.bulk import frame_of, stage
from bouncer.storage.tables import Contact
from bouncer.storage.transactions import writing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BY_ADDRESS_KEY", "VERDICT_OF_CONTACT", "fill_address_keys", "renew_keys", "with_keys"]

# For MariaDB and MySQL: where most contacts have no key yet, these hold a search by it for a search of all contacts.
BY_ADDRESS_KEY = "FORCE INDEX (idx_bouncer_address_key)"
VERDICT_OF_CONTACT = (
    "bouncer_status",
    "bouncer_reason",
    "bouncer_score",
    "bouncer_verified_ts",
    "bouncer_batch_id",
    "bouncer_deep_ts",
)
"""The columns of a contact that are about the address that it has now."""

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
        done = _fill_some(engine, done)


def with_keys(rows: Sequence[Row[int, str, bytes | None]]) -> "pd.DataFrame":
    """Computes the keys of the addresses that contacts have now.

    Args:
        rows: Number, address and stored key of each contact.

    Returns:
        A frame as ``renew_keys`` takes it.
    """
    contacts = frame_of(rows, ["global_id", "email", "stored_key"])
    return contacts.join(normalise_all(contacts["email"])[["key"]])


def renew_keys(connection: Connection, contacts: "pd.DataFrame") -> int:
    """Gives contacts the key of the address that they have now.

    Where the application has changed the address, the verdict goes, which is on the other one. Safe to run twice.

    Args:
        connection: In a transaction that writes.
        contacts: Columns ``global_id``, ``stored_key`` (the one that is there, or None) and ``key`` (of the address,
            or None where it cannot be mailed to).

    Returns:
        How many had another key, or none.
    """
    changed = contacts[contacts["stored_key"] != contacts["key"]].drop_duplicates("global_id")
    if changed.empty:
        return 0
    moved = changed[changed["stored_key"].notna()]
    if not moved.empty:
        its = stage(connection, "moved_contacts", {"global_id": BigInteger()}, moved).c
        connection.execute(
            update(Contact).where(Contact.global_id == its.global_id).values(dict.fromkeys(VERDICT_OF_CONTACT))
        )
    _store(connection, changed)
    return len(changed)


@writing
def _fill_some(connection: Connection, after: int) -> int | None:
    rows = connection.execute(
        select(Contact.global_id, Contact.email)
        .where(Contact.bouncer_address_key.is_(None), Contact.global_id > after)
        .order_by(Contact.global_id)
        .limit(_STEP_ROWS)
    ).all()
    if not rows:
        return None
    contacts = frame_of(rows, ["global_id", "email"])
    _store(connection, contacts.join(normalise_all(contacts["email"])[["key"]]).dropna())
    return int(rows[-1].global_id)


def _store(connection: Connection, contacts: "pd.DataFrame") -> None:
    keys = stage(connection, "address_keys", _KEYS, contacts.rename(columns={"key": "address_key"})).c
    connection.execute(
        update(Contact).where(Contact.global_id == keys.global_id).values(bouncer_address_key=keys.address_key)
    )
