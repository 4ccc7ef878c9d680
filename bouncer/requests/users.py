"""Users: the people of the application whose requests they are, found by their number or e-mail address."""

from sqlalchemy import Connection, func, insert, select

from bouncer.addresses.normalisation import InvalidAddress, normalise
from bouncer.errors import InputRefused
from bouncer.storage.locks import Only, alone
from bouncer.storage.tables import User
from bouncer.storage.transactions import reading, writing

__all__ = ["LOCAL_USER", "find_or_make_user", "known_user", "user_named", "user_of"]

LOCAL_USER = "local user"
"""Owner of requests for which nobody is named; no address, so that it cannot be anybody's."""


def user_named(given: str | None) -> str:
    """Gives the name of a user as the tables have it.

    Args:
        given: An e-mail address as a person typed it, or None for ``LOCAL_USER``.

    Raises:
        InputRefused: It is no address.
    """
    if given is None:
        return LOCAL_USER
    try:
        return normalise(given)
    except InvalidAddress as error:
        raise InputRefused(f"the user's e-mail address cannot be used: {error} Give it as --user NAME@DOMAIN") from None


def user_of(connection: Connection, user: str | int) -> int | None:
    """Finds the number of a user.

    Args:
        connection: Any.
        user: The number, or the name that ``user_named`` gives.

    Returns:
        The number; None where there is no such user.
    """
    is_user = User.id == user if isinstance(user, int) else func.lower(User.email) == user.lower()
    return connection.scalar(select(func.min(User.id)).where(is_user))


@reading
def known_user(connection: Connection, number: int) -> int:
    """Makes sure that there is a user of this number, and returns it.

    Raises:
        InputRefused: There is none.
    """
    if user_of(connection, number) is None:
        raise InputRefused(
            f"there is no user {number}; give the number of a row of table Users, as the page of lists shows it"
        )
    return number


@writing
def find_or_make_user(connection: Connection, user: str) -> int:
    """Finds the number of a user, and makes the user where there is none.

    Args:
        connection: In a transaction that writes.
        user: The name that ``user_named`` gives.
    """
    found = user_of(connection, user)
    if found is not None:
        return found
    # An application's table of users need not hold each address once, so two first imports at once must not both make
    # the user. There is no row of theirs yet to lock.
    alone(connection, Only.NEW_USER)
    found = user_of(connection, user)
    if found is not None:
        return found
    made: int = connection.execute(insert(User).values(email=user)).lastrowid
    return made
