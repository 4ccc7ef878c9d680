"""Charts for Markdown and terminals: out of characters, or as pictures."""

import base64
import itertools
from collections.abc import Mapping, Sequence

from bouncer.safe_text import in_markdown

__all__ = ["bar", "line_chart", "sparkline", "verdict_bar", "verdict_table"]

_EIGHTHS = "▁▂▃▄▅▆▇█"
_NOTHING = "·"
# These can be told from both a dark and a light ground.
_COLOUR, _ALERT = "#3b82f6", "#ef4444"
_ALONE = 3
"""Half the length of a line for a value without neighbours, in pixels."""
_VERDICT_BAR = 30
_VERDICT_COLOURS = {"deliverable": "#22c55e", "risky": "#f59e0b", "undeliverable": _ALERT}
_OTHER_VERDICT = "#9ca3af"
_BAR_EIGHTHS = " ▏▎▍▌▋▊▉█"


def sparkline(values: Sequence[int | None]) -> str:
    """One character a value, its height in proportion to the highest; a dot where there is no value."""
    most = max((value for value in values if value is not None), default=0)
    return "".join(
        _NOTHING if value is None else _EIGHTHS[round(7 * value / most) if most > 0 else 0] for value in values
    )


def line_chart(values: Sequence[int | None], *, width: int, height: int, threshold: float | None = None) -> str:
    """A chart of a line over its area, as a picture that Markdown can hold.

    Args:
        values: From the left to the right; the line is broken where there is none.
        width: In pixels.
        height: In pixels.
        threshold: Where a dashed line goes, if it is within the chart.

    Returns:
        An address of its own (a data URI) that needs no server.
    """
    most = max((value for value in values if value is not None), default=0) or 1
    step = (width - 2) / max(len(values) - 1, 1)

    def y_of(value: float) -> float:
        return round(height - 1 - (height - 2) * value / most, 1)

    parts = []
    for has_value, run in itertools.groupby(enumerate(values), key=lambda item: item[1] is not None):
        if not has_value:
            continue
        points = [(round(1 + step * at, 1), y_of(value or 0)) for at, value in run]
        (left, first), (right, _) = points[0], points[-1]
        if left == right:
            # A value that stands alone is a short line, within the picture also at its edge, where the first one is.
            left = max(left - _ALONE, 0)
            right = min(right + _ALONE, width)
            points = [(left, first), (right, first)]
        line = " ".join(f"{x},{y}" for x, y in points)
        area = f"{left},{height} {line} {right},{height}"
        parts.append(f'<polygon fill="{_COLOUR}" fill-opacity=".25" points="{area}"/>')
        parts.append(f'<polyline fill="none" stroke="{_COLOUR}" stroke-width="1.5" points="{line}"/>')
    if threshold is not None and threshold <= most:
        parts.append(f'<path stroke="{_ALERT}" stroke-dasharray="4 3" d="M0 {y_of(threshold)}H{width}"/>')
    return _picture(parts, width, height)


def bar(share: float, *, width: int) -> str:
    """A bar over so many characters, filled to a share of it.

    Args:
        share: From 0 to 1; what is beyond is cut off.
        width: In characters.
    """
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BAR_EIGHTHS[rest] if rest else "")).ljust(width)


def verdict_bar(verdicts: Mapping[str, int], *, width: int, height: int) -> str:
    """One bar in the colours of the verdicts, each as long as its share, as a picture in Markdown; nothing of none.

    Args:
        verdicts: Contacts by verdict.
        width: In pixels.
        height: In pixels.
    """
    total = sum(verdicts.values())
    if not total:
        return ""
    parts, left = [], 0.0
    for verdict, count in verdicts.items():
        share = round(width * count / total, 1)
        colour = _VERDICT_COLOURS.get(verdict, _OTHER_VERDICT)
        parts.append(f'<rect x="{left}" width="{share}" height="{height}" fill="{colour}"/>')
        left = round(left + share, 1)
    words = ", ".join(f"{count / total:.0%} {in_markdown(verdict)}" for verdict, count in verdicts.items())
    return f"![{words}]({_picture(parts, width, height)}) {words}"


def _picture(parts: Sequence[str], width: int, height: int) -> str:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{"".join(parts)}</svg>'
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def verdict_table(verdicts: Mapping[str, int]) -> str:
    """Contacts by verdict as a table in Markdown, with bars as long as their shares; nothing where there are none."""
    if not verdicts:
        return ""
    most, total = max(verdicts.values()), sum(verdicts.values())
    rows = [
        f"| {in_markdown(verdict)} | {count:,} | {count / total:.1%} |"
        f" {'█' * max(1, round(_VERDICT_BAR * count / most))} |"
        for verdict, count in verdicts.items()
    ]
    return "\n".join(["| verdict | contacts | share | |", "|---|---:|---:|---|", *rows])
