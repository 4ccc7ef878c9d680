"""Charts out of characters, for Markdown and terminals."""

import math
from collections.abc import Sequence

__all__ = ["bar", "columns", "sparkline"]

_EIGHTHS = "▁▂▃▄▅▆▇█"
_NOTHING = "·"
_BAR_EIGHTHS = " ▏▎▍▌▋▊▉█"


def sparkline(values: Sequence[int | None]) -> str:
    """One character a value, its height in proportion to the highest; a dot where there is no value."""
    most = max((value for value in values if value is not None), default=0)
    return "".join(
        _NOTHING if value is None else _EIGHTHS[round(7 * value / most) if most > 0 else 0] for value in values
    )


def columns(values: Sequence[int | None], *, height: int) -> list[str]:
    """A column a value, as lines from the top down.

    Args:
        values: None leaves its column empty.
        height: How many lines.
    """
    most = max((value for value in values if value is not None), default=0)
    # Anything above nothing is at least one eighth high.
    eighths = [math.ceil(8 * height * (value or 0) / most) if most > 0 else 0 for value in values]
    return [
        "".join(" " if left <= 0 else _EIGHTHS[min(left, 8) - 1] for left in (eighth - 8 * line for eighth in eighths))
        for line in reversed(range(height))
    ]


def bar(share: float, *, width: int) -> str:
    """A bar over so many characters, filled to a share of it.

    Args:
        share: From 0 to 1; what is beyond is cut off.
        width: In characters.
    """
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BAR_EIGHTHS[rest] if rest else "")).ljust(width)
