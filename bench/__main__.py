"""Measures everything: ``python -m bench``, or ``python -m bench --quick`` with little."""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter, validators
from rich.console import Console

from bench.history import HISTORY, append, machine_seconds, worse_than_last, write_history_chart
from bench.measuring import Bench, Benchmark, Row
from bench.page import PAGE, RESULTS, write_page
from bench.peer import beside_bullmq
from bench.report import print_table, write_chart, write_json
from bench.rows.claiming import claiming
from bench.rows.end_to_end import end_to_end, short_batches
from bench.rows.files import exporting, importing
from bench.rows.growing import growing
from bench.rows.idling import idling_under_serve, idling_with_a_worker
from bench.rows.looking import looking
from bench.rows.queueing import queueing, simulated_queue
from bench.rows.restarting import restarting
from bench.rows.saturating import saturating
from bench.rows.settling import settling
from bench.rows.simulating import simulating
from bench.rows.starting import starting
from bench.servers import running_server
from tests.database_server import DatabaseServer
from tests.mariadb_server import MariaDBServer
from tests.mysql_server import MySQLServer

_BENCHMARKS: tuple[Benchmark, ...] = (
    starting,
    settling,
    claiming,
    importing,
    exporting,
    growing,
    end_to_end,
    short_batches,
    beside_bullmq,
    restarting,
    saturating,
    looking,
    idling_under_serve,
    idling_with_a_worker,
    simulating,
    simulated_queue,
    queueing,
)

_ON_SERVERS: dict[type[DatabaseServer], tuple[Benchmark, ...]] = {
    MariaDBServer: _BENCHMARKS,
    # Those whose time is the database's.
    MySQLServer: (settling, claiming, importing, exporting, growing),
}

app = cyclopts.App(name="bench", version_flags=())


@app.default
def run(
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    only: str | None = None,
    server: str | None = None,
    most: Annotated[int | None, Parameter(validator=validators.Number(gte=100_000))] = None,
    into: Path | None = None,
) -> None:
    """Measures and prints a table; a full measurement is written to results.json, results.svg and the documentation.

    Args:
        quick: Measure with little, in five minutes.
        only: Only the benchmark of this name, and write nothing.
        server: Only on the server of this name, and write nothing.
        most: Contacts in the longest queue; ten million, and 100,000 with --quick. With it nothing is written.
        into: Write results.json and results.svg into this folder instead, whatever was measured.
    """
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 160)
    began, load = time.monotonic(), os.getloadavg()[0]
    longest = most or (100_000 if quick else 10_000_000)
    rows: list[Row] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for kind, benchmarks in _ON_SERVERS.items():
            chosen = [each for each in benchmarks if only in {None, each.__name__}]
            if not chosen or server not in {None, kind.NAME}:
                continue
            with running_server(kind) as running:
                folder = Path(name) / kind.__name__
                folder.mkdir()
                bench = Bench(quick, longest, running, folder, lambda words: console.print(f"  {words}", style="dim"))
                for benchmark in chosen:
                    where = f"{benchmark.__name__}, {kind.NAME}"
                    console.print(where)
                    try:
                        measured = benchmark(bench)
                    except Exception:  # noqa: BLE001  # an hour of the others' figures is not lost with it
                        console.print_exception()
                        failed.append(where)
                        continue
                    rows += [_of_server(row, kind) for row in measured]
                    print_table(measured, quick=quick, console=console)
    seconds = time.monotonic() - began
    print_table(rows, quick=quick)
    console.print(f"measured in {seconds:.0f} s; the machine's load was {load:.1f} before")
    if failed:
        console.print(f"nothing is written, since these failed: {'; '.join(failed)}", style="red")
        raise SystemExit(1)
    # What little measures must not take the place of the figures that the documentation shows.
    if into is not None or (only is None and server is None and most is None and not quick):
        results = RESULTS if into is None else into / RESULTS.name
        write_json(results, rows, quick=quick, seconds=seconds, load_before=load)
        write_chart(results.with_suffix(".svg"), rows)
        if into is None:
            write_page(PAGE, results)
            machine = machine_seconds()
            for line in worse_than_last(HISTORY, rows, machine):
                console.print(line, style="yellow")
            append(HISTORY, rows, machine)
            write_history_chart(HISTORY, HISTORY.with_suffix(".svg"))


def _of_server(row: Row, kind: type[DatabaseServer]) -> Row:
    # The chart and the page have had MariaDB's rows without its name from the beginning.
    return row if kind is MariaDBServer else replace(row, what=f"{row.what}, {kind.NAME}")


if __name__ == "__main__":
    app()
