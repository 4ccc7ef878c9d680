"""What came out on each server with each setting: kept from run to run, as a table and as a page."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from tests.servers.settings import SETTINGS

__all__ = ["KEPT", "Cell", "keep", "kept_cells"]

KEPT = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Cell:
    """One server with one setting.

    Attributes:
        server: Such as MySQL.
        version: As the server says it.
        setting: The setting's name.
        contacts: With one verdict each.
        killed: What was killed meanwhile.
        refused: The line by which ``setup`` refuses the setting; empty where it is worked with.
        problems: What does not hold; empty where all does.
    """

    server: str
    version: str
    setting: str
    contacts: int
    killed: str
    refused: str
    problems: tuple[str, ...]

    @property
    def result(self) -> str:
        """The outcome in words."""
        if self.problems:
            return f"FAILS: {'; '.join(self.problems)}"
        return f"refused: {self.refused}" if self.refused else "works"


def kept_cells() -> list[Cell]:
    """The cells of earlier runs."""
    if not KEPT.exists():
        return []
    return [replace(Cell(**row), problems=tuple(row["problems"])) for row in orjson.loads(KEPT.read_bytes())]


def keep(cells: list[Cell]) -> None:
    """Keeps cells, each in the place of an earlier one of its server and setting."""
    found = {(cell.server, cell.setting): cell for cell in [*kept_cells(), *cells]}
    order = [setting.name for setting in SETTINGS]
    rows = sorted(
        (cell for cell in found.values() if cell.setting in order),
        key=lambda cell: (order.index(cell.setting), cell.server),
    )
    KEPT.write_bytes(
        orjson.dumps([asdict(cell) for cell in rows], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
