"""``python -m tests.servers``: the whole job on every server with every setting, with a table at the end."""

import sys
import tempfile
import time
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.table import Table

from tests.chaos.processes import prepare_forks
from tests.docs.reference.__main__ import main as write_reference
from tests.servers.results import Cell, keep, kept_cells
from tests.servers.running import name_of, run_cells, wanted_cells

app = App(name="python -m tests.servers", help="Verifies contacts on every database server with every setting.")
_progress = Console(stderr=True, highlight=False, soft_wrap=True)


@app.default
def servers(
    *,
    contacts: int = 20_000,
    only: str = "",
    server: str = "",
    sites: int = 2,
    minutes: float = 120,
    keep_results: bool = False,
    again: bool = True,
    logs: Path | None = None,
) -> int:
    """Does the whole job on each server with each setting, kills each side, and prints what came out.

    Args:
        contacts: How many are on the first list; in the middle of it the worker dies, and then the database.
        only: Just the settings that have a match of this regular expression.
        server: Just the servers whose name has a match of this regular expression.
        sites: How many at once, each with servers of its own.
        minutes: Begin no more cells after so long.
        keep_results: Put the results into docs/reference/databases.md, in the place of earlier ones.
        again: Also the cells that a kept result says work.
        logs: A folder that keeps the logs; they go if it is left out.
    """
    wanted = wanted_cells(only, server)
    if not again:
        done = {(cell.server, cell.setting) for cell in kept_cells() if not cell.problems}
        wanted = [(kind, setting) for kind, setting in wanted if (name_of(kind), setting.name) not in done]
    missing = {reason for kind, _ in wanted if kind is not None and (reason := kind.missing())}
    if missing or not wanted:
        _progress.print("; ".join(missing) or "no cell has a match", markup=False)
        return 2
    began = time.monotonic()
    cells: list[Cell] = []

    def tell(cell: Cell) -> None:
        cells.append(cell)
        where = f"{len(cells)}/{len(wanted)} {time.monotonic() - began:.0f} s  {cell.server}, {cell.setting}"
        _progress.print(f"{where}: {cell.result}", markup=False)
        if keep_results:
            # Each as it comes, since the whole takes most of an hour.
            keep([cell])

    prepare_forks()
    with tempfile.TemporaryDirectory(prefix="servers-") as temporary:
        folder = Path(temporary) if logs is None else logs.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        run_cells(wanted, contacts, sites=min(sites, len(wanted)), seconds=60 * minutes, folder=folder, told=tell)
    if keep_results:
        write_reference()
    _print(cells)
    return 1 if any(cell.problems for cell in cells) else 0


def _print(cells: list[Cell]) -> None:
    table = Table(title="each server with each setting", caption_justify="left")
    for heading in ("server", "setting", "contacts", "killed", "result"):
        table.add_column(heading, justify="right" if heading == "contacts" else "left")
    for cell in cells:
        table.add_row(
            f"{cell.server} ({cell.version})",
            cell.setting,
            f"{cell.contacts:,}",
            cell.killed,
            cell.result,
        )
    Console(width=None if sys.stdout.isatty() else 180).print(table, markup=False)


if __name__ == "__main__":
    sys.exit(app(exit_on_error=True))
