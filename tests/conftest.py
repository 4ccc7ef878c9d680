"""What tests share: databases of their own, a sandbox, and a Prefect server that starts when one asks for it."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine

from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from tests.database_server import EVERY_SERVER, DatabaseServer, skip_or_fail
from tests.mariadb_server import MariaDB118Server, MariaDBServer
from tests.mysql_server import MySQLServer
from tests.sandbox_process import SandboxHandle, running_sandbox

if TYPE_CHECKING:
    # For its type alone: tests of bouncer/ and sandbox/ need no Prefect, whose import takes seconds.
    from deployments.server.local_server import LocalServer

# Reading all of the world's authorities costs each HTTP client 50 ms of a processor, and no test needs more than one.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("one_authority.pem"))

# Nobody's own installation on this machine is touched, nor does it change what tests see.
_HOME = Path(tempfile.gettempdir(), f"home-of-tests-{os.getpid()}")
os.environ["BOUNCER_FLOWS_HOME"] = str(_HOME)
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

# What a shell starts in the background ignores Ctrl-C, and so would every command that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SetUpAccount = Callable[..., Awaitable[Engine]]
"""Sets up the database and an account at the sandbox, with fields of ``Settings``; returns the flows' engine."""

_QUICK = {"poll_seconds_min": 0.1, "poll_seconds_max": 0.3, "rate_limit_per_minute": 6000, "batch_size": 400}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves what works with a Prefect server to ``make test-thorough`` unless it is marked; begins with long tests.

    Each run of a flow costs seconds of processor time, whatever it does: all such tests together take half an hour.
    """
    for item in items:
        placed = any(item.get_closest_marker(place) for place in ("mainline", "scenario"))
        if "prefect_server" in getattr(item, "fixturenames", ()) and not placed:
            item.add_marker("thorough")
    # So that no process waits at the end for the one that has such a test.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[DatabaseServer]:
    """One MariaDB server for the whole run, started when a test first asks for it."""
    yield from _running(MariaDBServer)


@pytest.fixture(scope="session")
def mysql() -> Iterator[DatabaseServer]:
    """One MySQL server for the whole run, started when a test first asks for it."""
    yield from _running(MySQLServer)


@pytest.fixture(scope="session")
def mariadb118() -> Iterator[DatabaseServer]:
    """One MariaDB server of version 11.8 for the whole run, started when a test first asks for it."""
    yield from _running(MariaDB118Server)


def _running(kind: type[DatabaseServer]) -> Iterator[DatabaseServer]:
    skip_or_fail(kind.missing())
    with kind() as server:
        yield server


@pytest.fixture(params=EVERY_SERVER)
def server(request: pytest.FixtureRequest) -> DatabaseServer:
    """A database server, once of each kind."""
    running: DatabaseServer = request.getfixturevalue(request.param)
    return running


@pytest.fixture
def server_url(server: DatabaseServer) -> Iterator[str]:
    """An empty database on a server of each kind, dropped afterwards."""
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def mariadb_url(mariadb: DatabaseServer) -> Iterator[str]:
    """An empty MariaDB database, dropped afterwards."""
    name = mariadb.create_database()
    yield mariadb.url(name)
    mariadb.drop_database(name)


@pytest.fixture
def mysql_url(mysql: DatabaseServer) -> Iterator[str]:
    """An empty MySQL database, dropped afterwards."""
    name = mysql.create_database()
    yield mysql.url(name)
    mysql.drop_database(name)


@pytest.fixture
def mariadb118_url(mariadb118: DatabaseServer) -> Iterator[str]:
    """An empty database on MariaDB 11.8, dropped afterwards."""
    name = mariadb118.create_database()
    yield mariadb118.url(name)
    mariadb118.drop_database(name)


@pytest.fixture(params=["sqlite", *EVERY_SERVER])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'contacts.sqlite'}"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def empty_engine(database_url: str) -> Iterator[Engine]:
    """An engine on a database without any table."""
    engine = engine_for(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(empty_engine: Engine) -> Engine:
    """An engine on a database with all tables and no rows."""
    upgrade(empty_engine)
    return empty_engine


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxHandle]:
    """One sandbox for the whole run, quick and without rate limits of its own, started when first asked for."""
    plenty = 1_000_000
    with running_sandbox(
        fixed_seconds=0.1,
        requests_per_minute=plenty,
        uploads_per_minute=plenty,
        credit_calls_per_minute=plenty,
    ) as handle:
        yield handle


@pytest.fixture
def sandbox(sandbox_process: SandboxHandle) -> SandboxHandle:
    """A sandbox that has seen nothing yet."""
    sandbox_process.post("/_sandbox/reset")
    return sandbox_process


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the Prefect server's files."""
    return tmp_path_factory.mktemp("prefect-server")


@pytest.fixture(scope="session")
def prefect_server(prefect_home: Path) -> "Iterator[LocalServer]":
    """One real Prefect server for the whole run, which this process and its children work with from then on."""
    from tests.prefect_server import running_prefect_server  # noqa: PLC0415  # see TYPE_CHECKING above

    with running_prefect_server(prefect_home) as server:
        yield server


@pytest.fixture
def set_up_account(prefect_server: "LocalServer", sandbox: SandboxHandle, database_url: str) -> Iterator[SetUpAccount]:
    """Sets up an account at the sandbox over an empty database, once for each kind of database."""
    from blocks.contacts_database import engine_of  # noqa: PLC0415  # see TYPE_CHECKING above
    from tests.prefect_server import set_up_afresh  # noqa: PLC0415  # see TYPE_CHECKING above

    async def set_up(**settings: Any) -> Engine:
        account = {"bouncer_api_key": sandbox.key, "bouncer_api_base_url": sandbox.url, **_QUICK}
        return await set_up_afresh(database_url, **{**account, **settings})

    yield set_up
    engine_of(database_url).dispose()
    engine_of.cache_clear()
