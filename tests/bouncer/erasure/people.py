"""A person to erase, and the proof that nothing of them is left."""

from pathlib import Path

from sqlalchemy import Engine, select

from bouncer.addresses.normalisation import address_key
from bouncer.erasure.erasing import Erased, erase_person
from bouncer.storage.tables import Base
from tests.bouncer.contacts import (
    claim,
    queue,
)

ANN = "Ann.Marked@example.com"
BOB = "bob@example.com"
EVE = "eve@example.org"


def erase(engine: Engine, email: str = ANN, folder: Path = Path("nowhere")) -> Erased:
    """Erases a person whose exports would be in a folder."""
    return erase_person(engine, email, exports=[folder])


def all_of(engine: Engine) -> str:
    """Every value of every table."""
    with engine.connect() as connection:
        return repr([connection.execute(select(table)).all() for table in Base.metadata.sorted_tables]).lower()


def assert_gone(engine: Engine, email: str = ANN) -> None:
    """Neither the address nor its digest is in any table."""
    everything = all_of(engine)
    assert email.lower() not in everything
    assert repr(address_key(email)).lower() not in everything


def one_batch(engine: Engine, *emails: str) -> int:
    """Queues addresses and claims them as one batch; its number."""
    queue(engine, emails)
    (batch,) = claim(engine, batches=1).batches
    return batch.id
