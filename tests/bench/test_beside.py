"""Two trees beside each other: their rows meet by what was measured."""

from bench.beside.benchmarks import rows_of_both
from bench.measuring import Row


def test_rows_of_both_trees_are_side_by_side() -> None:
    """A row that only one of them has is left out, and each figure stands beside the floor of its own run."""
    then = [
        Row("export", 12.0, "s", floor=6.0),
        Row("gone since", 1.0, "s"),
        Row("memory", 500.0, "MB"),
        Row("memory", 9.0, "%"),
    ]
    now = [Row("memory", 400.0, "MB"), Row("new", 1.0, "s"), Row("export", 9.0, "s", floor=6.0)]
    _, _, memory, export = rows_of_both(then, now, "41462f3")
    assert memory == "| memory | 500 MB | 400 MB | 0.80 |  |  |"
    assert export == "| export | 12 s | 9 s | 0.75 | 2.00 | 1.50 |"
