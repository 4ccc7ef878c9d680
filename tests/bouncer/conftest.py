"""What the tests of the core share: databases that are ready at once, and a caller of the sandbox."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bouncer.api import client
from tests.bouncer.api.caller import Caller
from tests.bouncer.storage.ready_databases import ReadyDatabases
from tests.database_server import EVERY_SERVER, DatabaseServer
from tests.sandbox_process import SandboxHandle

_ready = ReadyDatabases()


@pytest.fixture(params=["sqlite", *EVERY_SERVER])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database, once of each kind: empty, or as ready as ``engine`` needs it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'contacts.sqlite'}"
    elif "engine" not in request.fixturenames:
        yield request.getfixturevalue(f"{request.param}_url")
    else:
        server: DatabaseServer = request.getfixturevalue(request.param)
        name = _ready.take(server)
        yield server.url(name)
        _ready.give_back(server, name)


@pytest.fixture
def caller(sandbox: SandboxHandle) -> Caller:
    """A caller of a sandbox that has seen nothing yet."""
    return Caller(sandbox)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(client, "sleep_unless_stopping", note)
    return waited
