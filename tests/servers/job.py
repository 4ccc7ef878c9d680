"""The whole job on one server with one setting: a list verified by commands as a person gives them, and two deaths."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import make_url

from bouncer.storage.engine import engine_for
from sandbox.sample import write_sample
from tests.chaos.processes import Command, ForkedCommand
from tests.chaos.servers import PrefectServer
from tests.chaos.site import Account, Site, Unexpected
from tests.chaos.waiting import wait_until
from tests.database_server import DatabaseServer
from tests.sandbox_process import SandboxHandle
from tests.servers.settings import Setting

__all__ = ["ServerSite", "database_url", "refusal", "work"]

_SLOTS = 2
_BATCHES = 3
_AWAY_SECONDS = 1.0
_START_SECONDS = 60.0


class ServerSite(Site):
    """A server with a setting, and a user on it with rights on one database only.

    Args:
        folder: For files of all kinds.
        server: The contacts' database server; None for a file of SQLite.
        prefect: The Prefect server.
        sandbox: In Bouncer's place.
        setting: The server's.
        files: Certificates and keys, by the names of their places in ``setting``.
    """

    def __init__(
        self,
        folder: Path,
        server: DatabaseServer | None,
        prefect: PrefectServer,
        sandbox: SandboxHandle,
        setting: Setting,
        files: Mapping[str, Path],
    ) -> None:
        super().__init__(folder, server, prefect, sandbox)
        self.setting = setting
        self._files = files

    def begin(self, name: str) -> None:
        """Makes an empty database as the server makes it by default, and a user of its own."""
        self._folder = self._root / name
        self._folder.mkdir()
        self._url = f"sqlite:///{self._folder / 'contacts.db'}"
        if self.mariadb is not None:
            self._url = database_url(self.mariadb, self.setting, self._files)
        self._engine = engine_for(self._url)
        self.sandbox.post("/_sandbox/reset")
        self.sandbox.post("/_sandbox/settings", {"fixed_seconds": self.setting.batch_seconds})
        self.key = self.sandbox.key

    def end(self) -> None:
        """Ends what still runs; the server goes with its data."""
        for run in self.runs:
            run.kill()
        self._engine.dispose()

    def run(self, *arguments: str) -> Command:
        """Starts ``bouncer-flows`` with arguments."""
        run = ForkedCommand(list(arguments), self._environment(), self._folder, f"{len(self.runs)}-{arguments[0]}")
        self.runs.append(run)
        return run

    def ingest(self, **_environment: str) -> Command:
        """Starts ``bouncer-flows ingest``."""
        return self.run("ingest", "--json")

    def queue_list(self, contacts: int) -> None:
        """Imports so many contacts, by the command."""
        number = len(self.runs)
        file = self._folder / f"contacts-{number}.csv"
        write_sample(file, contacts, seed=number)
        self.ends_with(self.run("import", str(file)), 0)
        self.imported = int(self.scalar("SELECT COUNT(*) FROM Bouncer_Queue"))


def database_url(server: DatabaseServer, setting: Setting, files: Mapping[str, Path]) -> str:
    """Makes a database as the setting wants it, and a user with rights on it alone.

    Args:
        server: Started with the setting's options.
        setting: The setting.
        files: Certificates and keys, by the names of their places in ``setting``.

    Returns:
        The URL by which that user connects.
    """
    database, user, password = (f"{what}_{secrets.token_hex(4)}" for what in ("contacts", "user", "password"))
    # The member of a group takes no writes until it is one.
    wait_until(lambda: _can_write(server, f"CREATE DATABASE IF NOT EXISTS {database}"), "a primary", _START_SECONDS)
    if setting.tables:
        server.execute(*setting.tables, database=database)
    server.execute(
        f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{password}'",
        f"GRANT ALL ON {database}.* TO {user}@'127.0.0.1'",
    )
    query = setting.query.format(data=server.data, **files)
    url = make_url(server.url(database)).set(username=user, password=password)
    return url.render_as_string(hide_password=False) + (f"?{query}" if query else "")


def work(site: ServerSite, contacts: int) -> int:
    """Sets up, imports a list and verifies it, in the middle of which the worker dies, and then the database.

    Args:
        site: Free for it.
        contacts: On the list.

    Returns:
        How many uploads had no answer when the worker died: on a busy machine a batch is complete by then, and the
        next one on its way.

    Raises:
        Unexpected: A command ended otherwise than it must.
    """
    site.account = Account(slots=_SLOTS, batch_size=max(10, contacts // _BATCHES))
    site.ends_with(site.run("setup", "--yes"), 0)
    site.queue_list(contacts)
    run = site.ingest()
    site.until(lambda: len(site.sandbox.batches()) >= _SLOTS, f"{_SLOTS} batches at Bouncer")
    # Killed before the answers are noted, it would rightly count the uploads as lost.
    site.until_uploads_rest()
    run.kill()
    unanswered = site.unanswered_uploads()
    downloads = site.seen("download")
    run = site.ingest()
    if site.mariadb is not None:
        # Verdicts are on their way into the database.
        site.until_seen("download", downloads + 1)
        site.outage(site.mariadb, _AWAY_SECONDS)
        if site.setting.meanwhile is not None:
            site.setting.meanwhile(site.mariadb)
    site.ends_with(run, 0)
    return unanswered


def refusal(site: ServerSite) -> str:
    """Runs ``setup`` with a setting that it must refuse.

    Returns:
        The line that it says.

    Raises:
        Unexpected: It did not refuse, or not in one line, or for another reason.
    """
    setup = site.run("setup", "--yes")
    code = setup.wait(_START_SECONDS)
    # Besides, it says which Prefect server it works with, and that another database was worked on before.
    said = [line for line in setup.log.splitlines() if line.startswith("bouncer-flows: ")]
    if code != 2 or len(said) != 1 or site.setting.refused not in said[0]:
        raise Unexpected(f"setup was to refuse it: {site.setting.refused}; exit code {code}: {setup.log[-600:]}")
    return said[0].removeprefix("bouncer-flows: ")


def _can_write(server: DatabaseServer, statement: str) -> bool:
    try:
        server.execute(statement)
    except Exception as error:  # the driver's kinds of it differ by server
        if "read-only" not in str(error):
            raise
        return False
    return True
