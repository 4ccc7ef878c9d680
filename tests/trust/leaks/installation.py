"""A user's installation with marked secrets, every word of which is kept, and what a search of it finds."""

import re
import sqlite3
from contextlib import suppress
from pathlib import Path

import httpx
from cryptography.fernet import Fernet
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.deployments.running_commands import Ended, Started, clean_environment
from tests.processes import descendants
from tests.sandbox_process import SandboxHandle
from tests.trust.leaks.searching import ADDRESS, Marks

__all__ = ["KEY", "NEW_KEY", "QUOTING", "Installation", "decrypted_blocks", "listings", "until"]

KEY = "marked-key-of-the-account"
NEW_KEY = "marked-key-that-was-rotated"
QUOTING = f"key {KEY} may not send {ADDRESS}.7@gmail.com"
"""What a careless service might answer."""

until = retry(
    retry=retry_if_exception_type((AssertionError, OSError, httpx.HTTPError)),
    wait=wait_fixed(0.1),
    stop=stop_after_delay(120),
    reraise=True,
)
"""For what comes about in another process."""


class Installation:
    """A home with a server of its own, MariaDB elsewhere, and every word that was said there.

    Args:
        home: The folder.
        sandbox: What its commands take for Bouncer.
        database_url: Where its contacts are.
        secrets: Keys and passwords besides KEY, NEW_KEY and the database's.
        server_password: That of the Prefect server, which Prefect takes out of the environment.
        settings: What its commands are told besides.

    Attributes:
        marks: What must not be found.
        seen: What was found in processes nevertheless.
    """

    def __init__(
        self,
        home: Path,
        sandbox: SandboxHandle,
        database_url: str,
        *,
        secrets: tuple[str, ...] = (),
        server_password: str | None = None,
        **settings: str,
    ) -> None:
        self.home = home
        self.sandbox = sandbox
        self.database_url = database_url
        self.marks = Marks.of(KEY, database_url, NEW_KEY, *secrets, *([server_password] if server_password else []))
        self._marks_in_environments = Marks.of(KEY, database_url, NEW_KEY, *secrets)
        self.seen: dict[str, set[str]] = {}
        temporary = home / "tmp"
        temporary.mkdir()
        self._environment = clean_environment(
            home,
            TMPDIR=str(temporary),
            DATABASE_URL=database_url,
            BOUNCER_API_BASE_URL=sandbox.url,
            BATCH_SIZE="30",
            MAX_CONCURRENT_BATCHES="3",
            RATE_LIMIT_PER_MINUTE="6000",
            POLL_SECONDS_MIN="0.1",
            POLL_SECONDS_MAX="0.3",
            BATCH_DEADLINE_SECONDS="6",
            # The worst that a user may ask for.
            PREFECT_LOGGING_LEVEL="DEBUG",
            PREFECT_LOGGING_ROOT_LEVEL="DEBUG",
            PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="DEBUG",
            **({"SERVER_PASSWORD": server_password} if server_password else {}),
            **settings,
        )

    def run(self, *arguments: str, key: str = KEY) -> Ended:
        """Runs a command to its end."""
        with self.start(*arguments, key=key) as command:
            return command.ended()

    def start(self, *arguments: str, key: str = KEY) -> Started:
        """Starts a command as the user has it."""
        return Started(list(arguments), self.home, {**self._environment, "BOUNCER_API_KEY": key})

    def ingest(self, *, key: str = KEY) -> Ended:
        """Runs ingest to its end and looks at its processes meanwhile."""
        with self.start("ingest", "--json", "--verbose", key=key) as command:
            while command.code is None:
                self.look_at_processes(command)
                with suppress(Exception):
                    command.process.wait(0.3)
            return command.ended(1)

    def look_at_processes(self, command: Started) -> None:
        """Notes what others can see of a command and of what it has started; its own environment is the user's."""
        children = descendants(command.process.pid)
        self.seen |= self.marks.in_processes([command.process.pid, *children], environments=False)
        self.seen |= self._marks_in_environments.in_processes(children, environments=True)


def listings(client: httpx.Client) -> dict[str, bytes]:
    """What a Prefect server tells of runs, logs, artifacts and events.

    Args:
        client: Of its API.
    """

    def told(kind: str, **wanted: object) -> bytes:
        return client.post(f"{kind}/filter", json=wanted).raise_for_status().content

    asked = {kind: told(kind, limit=200) for kind in ("flow_runs", "task_runs", "logs", "artifacts")}
    return {**asked, "events": told("events", filter={"event": {"prefix": [""]}}, limit=50)}


def decrypted_blocks(database: Path) -> list[str]:
    """What the blocks in a Prefect server's database hold, once they are decrypted."""
    connection = sqlite3.connect(database)
    (stored,) = connection.execute("SELECT value FROM configuration WHERE key = 'ENCRYPTION_KEY'").fetchone()
    documents = [data for (data,) in connection.execute("SELECT data FROM block_document")]
    connection.close()
    found = re.search(r'"fernet_key": ?"([^"]+)"', stored)
    assert found is not None
    return [Fernet(found[1]).decrypt(document.strip('"')).decode() for document in documents]
