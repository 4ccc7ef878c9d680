"""Benchmarks of ``python -m bench`` that two trees have, each run by the tree's own."""

import subprocess
import sys
from pathlib import Path

import orjson

from bench.beside.checkout import Checkout
from bench.measuring import Row

__all__ = ["benchmarked", "rows_of_both"]


def benchmarked(checkout: Checkout, name: str, folder: Path, *options: str) -> list[Row]:
    """Runs a benchmark of a tree, with all that it measures; its progress goes to standard error.

    Args:
        checkout: The tree.
        name: The benchmark.
        folder: An empty one, for the figures.
        options: Of the tree's ``python -m bench``.

    Returns:
        Its rows.

    Raises:
        CalledProcessError: The tree has no such benchmark, or it failed.
    """
    command = [*checkout.program("python"), "-m", "bench", "--only", name, "--into", str(folder), *options]
    # Its own table is no part of ours.
    subprocess.run(command, cwd=checkout.folder, check=True, stdout=sys.stderr)  # noqa: S603  # our own program
    report = orjson.loads((folder / "results.json").read_bytes())
    return [Row(row["what"], row["measured"], row["unit"], row["floor"], row["floor_is"]) for row in report["rows"]]


def rows_of_both(then: list[Row], now: list[Row], name: str) -> list[str]:
    """Puts the rows that both trees have side by side, as a table in Markdown.

    Args:
        then: Those of the earlier tree.
        now: Those of this one.
        name: What the earlier one is called.
    """
    # Processor time and memory have rows of the same name.
    earlier = {(row.what, row.unit): row for row in then}
    return [
        f"| what | at {name} | now | now / then | beside its floor then | and now |",
        "|---|---:|---:|---:|---:|---:|",
        *(_line(earlier[row.what, row.unit], row) for row in now if (row.what, row.unit) in earlier),
    ]


def _line(then: Row, now: Row) -> str:
    share = f"{now.measured / then.measured:.2f}" if then.measured else ""
    ratios = ("" if row.ratio is None else f"{row.ratio:.2f}" for row in (then, now))
    figures = (f"{row.measured:,.3g} {row.unit}" for row in (then, now))
    return f"| {' | '.join((now.what, *figures, share, *ratios))} |"
