"""Coverage of the diagram: how often each way was gone, and what happened to the process just then."""

from collections import Counter

from tests.simulation.faults import COMMIT
from tests.simulation.judge.diagram import EDGES

__all__ = ["coverage_lines"]


def coverage_lines(edges: Counter[tuple[tuple[str, str], str]]) -> list[str]:
    """The table of ways, as docs/testing.md has it."""
    kinds = list(COMMIT)
    lines = [f"| way | gone | {' | '.join(kinds)} |", f"|---|{'---|' * (1 + len(kinds))}"]
    for edge in sorted(EDGES):
        gone = sum(count for (one, _), count in edges.items() if one == edge)
        counts = [edges[edge, kind] for kind in kinds]
        lines.append(f"| {edge[0]} → {edge[1]} | {gone} | {' | '.join(map(str, counts))} |")
    return lines
