"""The page of the servers and settings that the whole job was run on, from the kept results of ``make servers``."""

from tests.docs.markdown import table
from tests.servers.results import Cell, kept_cells
from tests.servers.settings import SETTINGS

__all__ = ["databases_page"]

_FOREWORD = """\
# Databases

A list was verified on each server with each setting of the table: `setup`, `import` of a list, `ingest`. The worker
is killed while its batches are at Bouncer, and the database while the next worker stores verdicts.

- *works*: the second `ingest` ended with exit code 0. Every contact has exactly one verdict, its own address's. Nothing
  was paid twice. No log shows a traceback, an address or the key.
- *refused*: `setup` says in one line why it cannot work with this setting, and changes nothing.

The user of the database has all rights on that database, and none on the server.

MySQL 8 was not run. `make servers` runs it all again and writes this page."""

_NOT_RUN = """\
## Not run alone yet

`make servers` knows these too; by commands and with kills they were not run by themselves. The rows *at once* have some
of them together. `make test-thorough` tries each without a Prefect server: tables, an import, a claim and verdicts."""


def databases_page() -> str:
    """Each server with its version, each setting, and what came of it."""
    cells = kept_cells()
    versions = {cell.server: cell.version for cell in cells}
    servers = table(("server", "version"), sorted(versions.items()))
    parts = [_FOREWORD, servers, table(("setting", "server", "contacts", "killed", "result"), list(map(_row, cells)))]
    if missing := _not_run(cells):
        parts += [_NOT_RUN, table(("setting", "server"), missing)]
    return "\n\n".join(parts)


def _not_run(cells: list[Cell]) -> list[tuple[str, str]]:
    run = {(cell.setting, cell.server) for cell in cells}
    rows = [
        (setting.name, ", ".join(kind.NAME for kind in setting.kinds if (setting.name, kind.NAME) not in run))
        for setting in SETTINGS
    ]
    return [(setting, servers) for setting, servers in rows if servers]


def _row(cell: Cell) -> tuple[str, ...]:
    contacts = f"{cell.contacts:,}" if cell.contacts else ""
    return cell.setting, cell.server, contacts, cell.killed, cell.result
