"""The figures for people, for programs and as a chart."""

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from bench.measuring import Row

__all__ = ["figure", "print_table", "write_chart", "write_json"]

_GREEN, _RED, _GREY = "#2e7d32", "#c62828", "#9e9e9e"
_LINE, _LABELS, _BARS, _MOST = 22, 560, 360, 2.0


def print_table(rows: Sequence[Row], *, quick: bool, console: Console | None = None) -> None:
    """Prints a line for each figure, on standard output if no console is given."""
    title = "bouncer-flows, measured" + (" with little (make bench measures in full)" if quick else "")
    table = Table(title=title, title_justify="left")
    for heading in ("what", "measured", "floor", "ratio", "target", "reached"):
        table.add_column(heading, justify="right" if heading in {"measured", "ratio"} else "left")
    for row in rows:
        floor = "" if row.floor is None else f"{figure(row.floor)} {row.unit}: {row.floor_is}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        reached = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[row.reached]
        table.add_row(row.what, f"{figure(row.measured)} {row.unit}", floor, ratio, row.target, reached)
    (console or Console(width=None if sys.stdout.isatty() else 160)).print(table)


def write_json(path: Path, rows: Sequence[Row], *, quick: bool, seconds: float, load_before: float) -> None:
    """Writes everything, with what there is to know about the machine.

    Args:
        path: The file.
        rows: The figures.
        quick: Whether they were measured with little.
        seconds: How long measuring took.
        load_before: The machine's load average when it began; figures of a busy machine mean little.
    """
    report: dict[str, Any] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "seconds": round(seconds, 1),
        "machine": {
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_before": round(load_before, 2),
            "load_after": round(os.getloadavg()[0], 2),
        },
        "rows": [row.as_dict() for row in rows],
    }
    path.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def write_chart(path: Path, rows: Sequence[Row]) -> None:
    """Writes a bar for each figure that has a target: how much of what the target allows it takes up."""
    shares = [(row, share) for row in rows if (share := row.share_of_target) is not None]
    height = _LINE * (len(shares) + 2)
    limit = _LABELS + _BARS / _MOST
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABELS + _BARS + 80}" height="{height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{limit}" y="15" text-anchor="middle">target</text>',
        f'<line x1="{limit}" y1="{_LINE}" x2="{limit}" y2="{height - _LINE}" stroke="{_GREY}"/>',
    ]
    for number, (row, share) in enumerate(shares, 1):
        top = number * _LINE
        width = max(1.0, min(share, _MOST) * _BARS / _MOST)
        parts += [
            f'<text x="{_LABELS - 8}" y="{top + 15}" text-anchor="end">{escape(row.what)}</text>',
            (
                f'<rect x="{_LABELS}" y="{top + 4}" width="{width:.1f}" height="{_LINE - 8}" '
                f'fill="{_GREEN if row.reached else _RED}"/>'
            ),
            f'<text x="{_LABELS + width + 6:.1f}" y="{top + 15}">{figure(row.measured)} {escape(row.unit)}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def figure(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
