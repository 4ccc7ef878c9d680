"""The figures in docs/performance.md: a table made from results.json, between two marks."""

from pathlib import Path
from typing import Any

import orjson

from bench.report import figure
from bench.servers import PROJECT

__all__ = ["PAGE", "RESULTS", "figures_of", "figures_on", "write_page"]

PAGE = PROJECT / "docs" / "performance.md"
RESULTS = PROJECT / "bench" / "results.json"

_BEGIN = "<!-- figures: make bench writes what stands from here -->\n"
_END = "<!-- to here -->\n"


def figures_of(results: Path) -> str:
    """The table of a measurement, in Markdown; empty where nothing was measured yet.

    Args:
        results: The file that the measurement has written.
    """
    if not results.exists():
        return ""
    report: dict[str, Any] = orjson.loads(results.read_bytes())
    machine = report["machine"]
    when = f"Measured at {report['measured_at']} in {report['seconds']:.0f} s, with Python {machine['python']}"
    where = f"on {machine['processors']} processors with a load of {machine['load_before']:g} before"
    lines = [
        f"{when}, {where}. The whole of it is in [results.json](../bench/results.json).",
        "",
        "![How much of each target is used up](../bench/results.svg)",
        "",
        "| what | measured | floor | ratio | target | reached |",
        "|---|---:|---|---:|---|---|",
        *(_line(row) for row in report["rows"]),
    ]
    return "\n".join(["", *lines, "", ""])


def figures_on(page: Path) -> str:
    """Returns the part of a page between its marks.

    Raises:
        ValueError: It has not both marks, each once.
    """
    return _parts(page)[1]


def write_page(page: Path, results: Path) -> None:
    """Puts the table of a measurement between the marks of a page."""
    before, _, after = _parts(page)
    page.write_text(f"{before}{_BEGIN}{figures_of(results)}{_END}{after}", encoding="utf-8")


def _parts(page: Path) -> tuple[str, str, str]:
    text = page.read_text(encoding="utf-8")
    if (text.count(_BEGIN), text.count(_END)) != (1, 1):
        raise ValueError(f"{page} needs each of the two marks for the figures once")
    before, _, rest = text.partition(_BEGIN)
    figures, _, after = rest.partition(_END)
    return before, figures, after


def _line(row: dict[str, Any]) -> str:
    floor = "" if row["floor"] is None else f"{figure(row['floor'])} {row['unit']}: {row['floor_is']}"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    reached = {True: "yes", False: "**no**", None: ""}[row["reached"]]
    cells = (row["what"], f"{figure(row['measured'])} {row['unit']}", floor, ratio, row["target"], reached)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
