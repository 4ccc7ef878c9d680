"""Finds requests by what people call them: a name, or a number."""

import difflib

from sqlalchemy import Connection, select

from bouncer.errors import InputRefused
from bouncer.safe_text import clean_message, plain
from bouncer.storage.tables import Request
from bouncer.storage.transactions import reading

__all__ = ["called", "find_request"]

_MOST_LOOKED_AT = 1_000
_MOST_NAMED = 3


def called(request_id: int, name: str | None) -> str:
    """Names a request where no address may be: by its number, and its name without any address in it."""
    cleaned = clean_message(name or "")
    return f"request {request_id} ({cleaned})" if cleaned else f"request {request_id}"


@reading
def find_request(connection: Connection, given: str) -> int:
    """Gives the number of a request.

    Args:
        connection: Any.
        given: Its name, in exactly these letters, or its number.

    Raises:
        InputRefused: There is no such request, or several.
    """
    given = given.strip()
    if given.isdecimal():
        # Before names: a number is unique, and nobody's list takes it away.
        known = connection.scalar(select(Request.request_id).where(Request.request_id == int(given)))
        if known is not None:
            return int(known)
    namesakes = connection.execute(
        select(Request.request_id, Request.name).where(Request.name == given).order_by(Request.request_id)
    ).all()
    # Compared here too: to MariaDB and MySQL, Leads and leads are one name.
    found = [row for row in namesakes if row.name == given]
    if len(found) == 1:
        return int(found[0].request_id)
    if found:
        several = ", ".join(str(row.request_id) for row in found[:_MOST_LOOKED_AT])
        raise InputRefused(
            f"several requests are called {plain(given)}: {several}; give the number of one, "
            "bouncer-flows requests --all shows whose they are"
        )
    latest = select(Request.name).where(Request.name.is_not(None)).order_by(Request.request_id.desc())
    names = dict.fromkeys(str(name) for name in connection.scalars(latest.limit(_MOST_LOOKED_AT)))
    near = difflib.get_close_matches(given, names, _MOST_NAMED, cutoff=0.5)
    hint = (
        f"; do you mean {' or '.join(map(plain, near))}?"
        if near
        else "; bouncer-flows requests --all lists what --request can name"
    )
    raise InputRefused(f"there is no request {plain(given)}{hint}")
