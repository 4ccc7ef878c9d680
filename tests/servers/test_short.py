"""The short form of ``make servers``: everything set otherwise than by default at once."""

from pathlib import Path

import pytest

from tests.chaos.processes import prepare_forks
from tests.database_server import DatabaseServer, skip_or_fail
from tests.mariadb_server import MariaDB118Server, MariaDBServer
from tests.mysql_server import MySQLServer
from tests.servers.results import Cell
from tests.servers.running import run_cells, wanted_cells

pytestmark = [pytest.mark.scenario, pytest.mark.long]

_CONTACTS = 300


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "kind",
    [
        MySQLServer,
        MariaDB118Server,
        pytest.param(MariaDBServer, marks=pytest.mark.thorough),
    ],
    ids=lambda kind: kind.NAME,
)
def test_a_list_is_verified_on_an_awkward_server_whatever_dies(kind: type[DatabaseServer], tmp_path: Path) -> None:
    """By commands, as a person gives them: one verdict each, nothing paid twice, and worker and database are killed."""
    skip_or_fail(kind.missing())
    prepare_forks("pytest")
    cells: list[Cell] = []
    wanted = wanted_cells("^at once: .*SERIALIZABLE", f"^{kind.NAME}$")
    run_cells(wanted, _CONTACTS, sites=1, seconds=300, folder=tmp_path, told=cells.append)
    assert [(cell.contacts, cell.problems) for cell in cells] == [(_CONTACTS, ())]
