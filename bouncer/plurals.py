"""Counts in words, in the grammar of English: 1 line, 2 lines."""

__all__ = ["counted"]


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Gives a number with its noun.

    Args:
        number: How many.
        thing: The noun for one.
        things: The noun for any other number; the one for one with an s unless given.
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
