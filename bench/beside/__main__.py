"""``python -m bench.beside 41462f3``: what a person waits for, or benchmarks, now and at that commit, in turns."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from bench.beside.benchmarks import benchmarked, rows_of_both
from bench.beside.checkout import Checkout, earlier, this_one
from bench.beside.waiting import TO_REACH, waited_for
from bench.measuring import Row, median
from bench.servers import running_sandbox
from tests.mariadb_server import MariaDBServer

app = cyclopts.App(name="bench.beside", version_flags=())


@app.default
def beside(
    commit: str,
    *,
    rounds: int = 5,
    benchmark: Annotated[list[str] | None, Parameter(negative="")] = None,
    waiting: bool = True,
) -> None:
    """Prints a table in Markdown for docs/performance.md, on standard output.

    Args:
        commit: The earlier commit.
        rounds: How often everything that a person waits for is done in each tree; the medians are shown, in seconds.
        benchmark: After that, these of ``python -m bench``, once each, on MariaDB.
        waiting: Whether what a person waits for is measured at all.
    """
    before, now = earlier(commit), this_one()
    # Each as soon as it is there: a benchmark that fails takes nothing away.
    if waiting:
        _print(_waiting(before, now, rounds))
    if benchmark:
        _print(_benchmarks(before, now, benchmark))


def _print(lines: list[str]) -> None:
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()


def _benchmarks(before: Checkout, now: Checkout, names: list[str]) -> list[str]:
    rows: dict[str, list[Row]] = {before.name: [], now.name: []}
    with tempfile.TemporaryDirectory(prefix="beside-") as temporary:
        for name in names:
            # The earlier tree knows one server only.
            for checkout, options in ((before, ()), (now, ("--server", MariaDBServer.NAME))):
                sys.stderr.write(f"{name}: {checkout.name}\n")
                folder = Path(temporary) / f"{checkout.name}-{name}"
                folder.mkdir()
                rows[checkout.name] += benchmarked(checkout, name, folder, *options)
    return rows_of_both(rows[before.name], rows[now.name], before.name)


def _waiting(before: Checkout, now: Checkout, rounds: int) -> list[str]:
    taken: dict[str, list[dict[str, float]]] = {before.name: [], now.name: []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="beside-") as temporary, running_sandbox(1.0) as sandbox:
        for number in range(rounds):
            for checkout in (before, now):
                sys.stderr.write(f"round {number + 1} of {rounds}: {checkout.name}\n")
                folder = Path(temporary) / f"{checkout.name}-{number}"
                folder.mkdir()
                taken[checkout.name].append(waited_for(checkout, sandbox, folder))
    lines = [
        f"Medians of {rounds}, in turns, with a load of {load:.1f} before.",
        "",
        f"| what | at {before.name}, s | now, s | ratio | to reach, s | reached |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for what, to_reach in TO_REACH.items():
        then, here = (median([figures[what] for figures in taken[each.name]]) for each in (before, now))
        target, reached = ("", "") if to_reach is None else (f"{to_reach:g}", "yes" if here <= to_reach else "**no**")
        lines.append(f"| {what} | {then:.2f} | {here:.2f} | {here / then:.2f} | {target} | {reached} |")
    return lines


if __name__ == "__main__":
    app()
