"""Measures everything: ``python -m bench``, or ``python -m bench --quick`` with little."""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from bench.measuring import Bench, Benchmark, Row
from bench.page import PAGE, RESULTS, write_page
from bench.report import print_table, write_chart, write_json
from bench.rows.claiming import claiming
from bench.rows.end_to_end import end_to_end, short_batches
from bench.rows.files import exporting, importing
from bench.rows.looking import looking
from bench.rows.queueing import queueing, simulated_queue
from bench.rows.restarting import restarting
from bench.rows.saturating import saturating
from bench.rows.settling import settling
from bench.rows.simulating import simulating
from bench.rows.starting import starting
from bench.servers import running_mariadb

_BENCHMARKS: tuple[Benchmark, ...] = (
    starting,
    settling,
    claiming,
    importing,
    exporting,
    end_to_end,
    short_batches,
    restarting,
    saturating,
    looking,
    simulating,
    simulated_queue,
    queueing,
)

app = cyclopts.App(name="bench", version_flags=())


@app.default
def run(
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    only: str | None = None,
    into: Path | None = None,
) -> None:
    """Measures and prints a table; a full measurement is written to results.json, results.svg and the documentation.

    Args:
        quick: Measure with little, in two minutes.
        only: Only the benchmark of this name, and write nothing.
        into: Write results.json and results.svg into this folder instead, whatever was measured.
    """
    console = Console(stderr=True)
    began, load = time.monotonic(), os.getloadavg()[0]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name, running_mariadb(Path(name) / "mariadb") as mariadb:
        bench = Bench(quick, mariadb, Path(name), lambda words: console.print(f"  {words}", style="dim"))
        for benchmark in _BENCHMARKS:
            if only in {None, benchmark.__name__}:
                console.print(benchmark.__name__)
                rows += benchmark(bench)
    seconds = time.monotonic() - began
    print_table(rows, quick=quick)
    console.print(f"measured in {seconds:.0f} s; the machine's load was {load:.1f} before")
    # What little measures must not take the place of the figures that the documentation shows.
    if into is not None or (only is None and not quick):
        results = RESULTS if into is None else into / RESULTS.name
        write_json(results, rows, quick=quick, seconds=seconds, load_before=load)
        write_chart(results.with_suffix(".svg"), rows)
        if into is None:
            write_page(PAGE, results)


if __name__ == "__main__":
    app()
