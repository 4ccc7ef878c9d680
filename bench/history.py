"""The history of the figures: a line for each row and full measurement, and what became worse since the last one."""

import csv
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from bench.measuring import Row

__all__ = ["HISTORY", "append", "machine_seconds", "worse_than_last", "write_history_chart"]

HISTORY = Path(__file__).with_name("history.csv")

_COLUMNS = ("measured_at", "commit", "machine_seconds", "what", "unit", "measured", "floor", "share_of_target")
_WORSE = 1.10
_LINE, _LABELS, _PLOT = 22, 560, 360


@dataclass(frozen=True)
class _Past:
    # A row of an earlier measurement.
    machine_seconds: float
    share: float


def machine_seconds() -> float:
    """Measures how long this machine takes for a fixed piece of work: the median of five, in seconds."""
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        sum(len(str(number)) for number in range(1_000_000))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def append(path: Path, rows: Sequence[Row], machine: float) -> None:
    """Adds a line for each row that has a target.

    Args:
        path: The file; it is made with its header where it is missing.
        rows: The figures.
        machine: What ``machine_seconds`` measured.
    """
    is_new = not path.exists()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  # whichever git the developer has
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(_COLUMNS)
        for row in rows:
            if row.share_of_target is not None:
                numbers = [f"{row.measured:.6g}", "" if row.floor is None else f"{row.floor:.6g}"]
                share = f"{row.share_of_target:.4g}"
                writer.writerow([now, commit.stdout.strip(), f"{machine:.4g}", row.what, row.unit, *numbers, share])


def worse_than_last(path: Path, rows: Sequence[Row], machine: float) -> list[str]:
    """Says which rows are more than a tenth worse than when they were last measured, a line for each.

    A row with a floor is compared by its ratio. Another one's seconds are compared by what this machine takes.

    Args:
        path: The history, without these rows.
        rows: The figures.
        machine: What ``machine_seconds`` measured.
    """
    lines, history = [], _read(path)
    for row in rows:
        past = history.get(row.what)
        if past is None or row.share_of_target is None:
            continue
        last, now = past[-1], row.share_of_target
        if row.most_ratio is None and row.unit == "s":
            now *= last.machine_seconds / machine
        if now > _WORSE * last.share:
            lines.append(f"{row.what}: {now / last.share - 1:.0%} worse than in the last measurement")
    return lines


def write_history_chart(path: Path, into: Path) -> None:
    """Draws a line for each row: the share of its target that it took up, over all measurements."""
    history = _read(path)
    height = _LINE * (len(history) + 1)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABELS + _PLOT + 80}" height="{height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (what, past) in enumerate(history.items()):
        top, shares = number * _LINE, [one.share for one in past]
        most, step = max(*shares, 1.0), _PLOT / max(len(shares) - 1, 1)
        points = " ".join(
            f"{_LABELS + place * step:.1f},{top + _LINE - 3 - share / most * (_LINE - 6):.1f}"
            for place, share in enumerate(shares)
        )
        target = top + _LINE - 3 - (_LINE - 6) / most
        parts += [
            f'<text x="{_LABELS - 8}" y="{top + 15}" text-anchor="end">{escape(what)}</text>',
            f'<line x1="{_LABELS}" x2="{_LABELS + _PLOT}" y1="{target:.1f}" y2="{target:.1f}" stroke="#9e9e9e"/>',
            f'<polyline points="{points}" fill="none" stroke="#1565c0" stroke-width="1.5"/>',
            f'<text x="{_LABELS + _PLOT + 8}" y="{top + 15}">{shares[-1]:.2f}</text>',
        ]
    into.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _read(path: Path) -> Mapping[str, list[_Past]]:
    history: dict[str, list[_Past]] = defaultdict(list)
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                history[line["what"]].append(_Past(float(line["machine_seconds"]), float(line["share_of_target"])))
    return history
