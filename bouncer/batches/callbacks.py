"""Callbacks: Bouncer says by itself that a batch is complete, at an address that ends in the batch's token.

What Bouncer sends is not documented (https://docs.usebouncer.com, batch-create), so nothing in it is believed: the
token tells which batch it is about, and an id counts for nothing until Bouncer's own status of it has been asked for.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

import orjson
from sqlalchemy import Connection, func, select, update

from bouncer.batches.admission import longest_at_bouncer_seconds
from bouncer.batches.state import BatchState, BatchWork, state_of
from bouncer.errors import OwnershipLost
from bouncer.storage.dialects import age_seconds
from bouncer.storage.tables import Batch
from bouncer.storage.transactions import reading, writing

__all__ = [
    "MOST_BYTES",
    "Callback",
    "ensure_token",
    "forget",
    "ids_in",
    "is_known",
    "is_of_another_batch",
    "is_token",
    "last_tokens",
    "look_for",
    "note",
    "present",
    "record_found",
]

MOST_BYTES = 65_536
"""Bytes of a callback's body that are read; a longer body names no id."""

_TOKEN = re.compile(r"[0-9a-f]{64}")
# The form of all ids that Bouncer has been seen to give. They become part of a path, so nothing else may be in them.
_ID = re.compile(r"[A-Za-z0-9_-]{6,50}")
_MOST_IDS = 4
_MOST_VALUES = 1_000
_LONGEST_QUERY = 4_000


@dataclass(frozen=True)
class Callback:
    """Callbacks of Bouncer for a batch.

    Attributes:
        at: When, or None where it has not called yet.
        ids: What it may have meant as the batch's id, the likeliest first; to be confirmed.
        wait_seconds: How much longer a callback can be hoped for; 0 where the upload carried no token.
        addresses: How many addresses the latest upload carried.
    """

    at: datetime | None
    ids: tuple[str, ...]
    wait_seconds: float
    addresses: int


def is_token(text: str) -> bool:
    """Tells whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def ids_in(body: bytes, query: str = "") -> tuple[str, ...]:
    """Finds what may be a batch's id in a callback: JSON or a form, whatever its fields are called.

    Args:
        body: As it was sent, at most MOST_BYTES.
        query: The part of the address after the question mark.

    Returns:
        At most four ids, the likeliest first; none where nothing has the form of one.
    """
    found = [*_named_values(body), *parse_qsl(query[:_LONGEST_QUERY])]
    found.sort(key=lambda pair: _doubt(pair[0]))
    return tuple(dict.fromkeys(value for _, value in found if _ID.fullmatch(value)))[:_MOST_IDS]


@writing
def ensure_token(connection: Connection, batch: BatchWork) -> str:
    """The token of a batch, made at its first upload.

    All uploads of a batch carry the same one: they have the same addresses, so whichever of them Bouncer has will do.

    Raises:
        OwnershipLost: Another run has the batch now.
    """
    mine = (Batch.id == batch.id, Batch.owner == batch.owner)
    fresh = secrets.token_hex(32)
    connection.execute(update(Batch).where(*mine, Batch.callback_token.is_(None)).values(callback_token=fresh))
    token = connection.scalar(select(Batch.callback_token).where(*mine))
    if token is None:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    return token


@reading
def is_known(connection: Connection, token: str) -> bool:
    """Tells whether a token is any batch's."""
    return connection.scalar(select(Batch.id).where(Batch.callback_token == token)) is not None


@reading
def last_tokens(connection: Connection, count: int) -> frozenset[str]:
    """The tokens of the latest batches that have one."""
    tokens = select(Batch.callback_token).where(Batch.callback_token.is_not(None)).order_by(Batch.id.desc())
    return frozenset(token for token in connection.scalars(tokens.limit(count)) if token is not None)


@writing
def note(connection: Connection, token: str, ids: tuple[str, ...]) -> bool:
    """Writes down that Bouncer has called; the run that has the batch finds it in the row. Safe to run twice.

    Returns:
        Whether the token is any batch's.
    """
    id_ = connection.scalar(select(Batch.id).where(Batch.callback_token == token))
    if id_ is None:
        return False
    values = {"callback_ts": func.current_timestamp(), **({"callback_ids": ",".join(ids)} if ids else {})}
    connection.execute(update(Batch).where(Batch.id == id_).values(values))
    return True


@reading
def present(connection: Connection, batch_id: int) -> datetime | None:
    """Reads when Bouncer last called for a batch, or None: one row by its key, cheap enough for every second."""
    return connection.scalar(select(Batch.callback_ts).where(Batch.id == batch_id))


@reading
def look_for(connection: Connection, batch: BatchWork, *, max_batches: int, longest_wait: float) -> Callback:
    """Looks for the callback of an upload whose answer was lost.

    Args:
        connection: In a transaction.
        batch: The batch.
        max_batches: The most batches in flight, which share the account's pace.
        longest_wait: In seconds, from the loss of the answer.
    """
    row = connection.execute(
        select(
            Batch.callback_ts,
            Batch.callback_ids,
            Batch.callback_token,
            state_of(),
            Batch.quantity,
            age_seconds(Batch.progress_ts).label("age"),
        ).where(Batch.id == batch.id)
    ).one()
    wait = 0.0
    if row.callback_token is not None and row.age is not None and row.state != BatchState.HELD:
        wait = min(longest_wait, longest_at_bouncer_seconds(row.quantity, max_batches)) - float(row.age)
    ids = tuple(row.callback_ids.split(",")) if row.callback_ids else ()
    return Callback(row.callback_ts, ids, wait, row.quantity)


@writing
def forget(connection: Connection, batch: BatchWork, call: Callback) -> bool:
    """Forgets a callback whose ids Bouncer did not confirm, unless Bouncer has called anew; the next one counts.

    Args:
        connection: In a transaction that writes.
        batch: The batch.
        call: What was looked at. To confirm its ids may have taken a minute, and another call may have come meanwhile.

    Returns:
        Whether it is forgotten; if not, there is another one to look at.

    Raises:
        OwnershipLost: Another run has the batch now.
    """
    row = connection.execute(
        select(Batch.owner, Batch.callback_ts, Batch.callback_ids).where(Batch.id == batch.id).with_for_update()
    ).one_or_none()
    if row is None or row.owner != batch.owner:
        raise OwnershipLost(f"batch {batch.id} was taken over by another run; nothing is lost")
    # The ids too: moments are whole seconds, and a second has room for two calls.
    if (row.callback_ts, row.callback_ids or "") != (call.at, ",".join(call.ids)):
        return False
    connection.execute(update(Batch).where(Batch.id == batch.id).values(callback_ts=None, callback_ids=None))
    return True


@reading
def is_of_another_batch(connection: Connection, batch: BatchWork, bouncer_id: str) -> bool:
    """Tells whether an id that a callback names is another batch's already."""
    return connection.scalar(select(Batch.id).where(Batch.bouncer_id == bouncer_id, Batch.id != batch.id)) is not None


@writing
def record_found(connection: Connection, batch: BatchWork) -> None:
    """Takes a lost upload back that was counted as perhaps paid twice: it was found, and nothing was sent again."""
    connection.execute(
        update(Batch)
        .where(Batch.id == batch.id, Batch.ambiguous_uploads > 0)
        .values(ambiguous_uploads=Batch.ambiguous_uploads - 1)
    )


def _doubt(name: str) -> int:
    plain = "".join(filter(str.isalnum, name)).lower()
    # Bouncer called it requestId until 2024.
    return 0 if plain in {"batchid", "requestid"} else 1 if plain == "id" else 2 if plain.endswith("id") else 3


def _named_values(body: bytes) -> Iterator[tuple[str, str]]:
    try:
        todo = [("", orjson.loads(body))]
    except orjson.JSONDecodeError:
        yield from parse_qsl(body.decode(errors="replace")[:MOST_BYTES])
        return
    for _ in range(_MOST_VALUES):
        if not todo:
            return
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += value.items()
        elif isinstance(value, list):
            todo += [(name, item) for item in value]
        elif isinstance(value, str):
            yield name, value
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, str(value)
