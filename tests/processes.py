"""Processes that others have started, in whichever session they are."""

from pathlib import Path

__all__ = ["descendants"]


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children += map(int, path.read_text().split())
        except OSError:
            continue
    return [each for child in children for each in (child, *descendants(child))]
