"""Counts and numbers in words, in the grammar of English: 1 line, 2 lines; batch 1, batches 1 and 2."""

from collections.abc import Sequence

__all__ = ["counted", "numbered"]


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Gives a number with its noun.

    Args:
        number: How many.
        thing: The noun for one.
        things: The noun for any other number; the one for one with an s unless given.
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def numbered(numbers: Sequence[int], thing: str, things: str | None = None) -> str:
    """Gives a noun with the numbers of what it names.

    Args:
        numbers: At least one.
        thing: The noun for one.
        things: The noun for several; the one for one with an s unless given.
    """
    listed = " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))
    return f"{thing if len(numbers) == 1 else things or thing + 's'} {listed}"
