"""Runs cells one after the other: the server is started for each, the Prefect server and the sandbox once for all."""

import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from bouncer.storage.engine import engine_for
from tests.chaos.invariants import Expected, measure
from tests.chaos.servers import PrefectServer
from tests.chaos.site import SANDBOX, Unexpected
from tests.database_server import DatabaseServer
from tests.ports import free_port
from tests.sandbox_process import SandboxHandle, running_sandbox
from tests.servers.job import ServerSite, refusal, work
from tests.servers.results import Cell
from tests.servers.settings import SETTINGS, Setting
from tests.trust.database.certificates import Authority

__all__ = ["certificates", "name_of", "run_cell", "run_cells", "start_options", "surroundings", "wanted_cells"]

_SQLITE = "SQLite"

_Kind = type[DatabaseServer] | None


@dataclass(frozen=True)
class Surroundings:
    """What all cells have in common.

    Attributes:
        folder: For files of all kinds.
        prefect: The Prefect server.
        sandbox: In Bouncer's place.
        files: Certificates and keys, by their places in settings.
    """

    folder: Path
    prefect: PrefectServer
    sandbox: SandboxHandle
    files: dict[str, Path]


def certificates(folder: Path) -> dict[str, Path]:
    """Makes an authority and two certificates, for this machine and for another, by their places in settings."""
    authority = Authority(folder, "authority")
    own, other = authority.sign("127.0.0.1"), authority.sign("db.example")
    return {
        "authority": authority.file,
        "certificate": own.certificate,
        "key": own.key,
        "other_certificate": other.certificate,
        "other_key": other.key,
    }


def start_options(setting: Setting, files: dict[str, Path]) -> list[str]:
    """The options that a server is started with."""
    return [option.format(free_port=free_port(), **files) for option in setting.options]


@contextmanager
def surroundings(folder: Path) -> Iterator[Surroundings]:
    """Starts what all cells have in common, and stops it at the end.

    Args:
        folder: For files of all kinds; must exist.
    """
    files = certificates(folder)
    prefect = PrefectServer(folder / "server")
    with running_sandbox(0, **SANDBOX) as sandbox:
        try:
            prefect.start()
            yield Surroundings(folder, prefect, sandbox, files)
        finally:
            prefect.stop()


def name_of(kind: _Kind) -> str:
    """What people call a kind of server."""
    return _SQLITE if kind is None else kind.NAME


def wanted_cells(only: str, server: str) -> list[tuple[_Kind, Setting]]:
    """The cells whose setting and whose server have matches of two regular expressions."""
    every: list[tuple[_Kind, Setting]] = [(None, SETTINGS[0])]
    every += [(kind, setting) for setting in SETTINGS for kind in setting.kinds]
    return [
        (kind, setting)
        for kind, setting in every
        if re.search(only, setting.name) and re.search(server, name_of(kind), re.IGNORECASE)
    ]


def run_cells(
    wanted: Iterable[tuple[_Kind, Setting]],
    contacts: int,
    *,
    sites: int,
    seconds: float,
    folder: Path,
    told: Callable[[Cell], None],
) -> None:
    """Does the whole job in cells.

    Args:
        wanted: The cells.
        contacts: On the first list of each.
        sites: How many at once, each with servers of its own.
        seconds: After which no cell begins any more.
        folder: For files of all kinds; must exist.
        told: Called with each cell as it is done, by one thread at a time.
    """
    waiting = deque(wanted)
    turn = threading.Lock()
    end = time.monotonic() + seconds

    def play(number: int) -> None:
        own = folder / f"site-{number}"
        own.mkdir()
        with surroundings(own) as around:
            while waiting and time.monotonic() < end:
                with suppress(IndexError):
                    cell = run_cell(around, *waiting.popleft(), contacts)
                    with turn:
                        told(cell)

    with ThreadPoolExecutor(sites, thread_name_prefix="site") as pool:
        try:
            for site in [pool.submit(play, number) for number in range(sites)]:
                site.result()
        finally:
            # Where a site breaks, or a person has had enough, the others end after what they are at.
            waiting.clear()


def run_cell(around: Surroundings, kind: _Kind, setting: Setting, contacts: int) -> Cell:
    """Does the whole job on a server with a setting.

    Args:
        around: What all cells have in common.
        kind: The server; None for SQLite.
        setting: The setting.
        contacts: On the first list; in the middle of it the worker dies, and then the database.
    """
    with ExitStack() as stack:
        server: DatabaseServer | None = None
        folder = around.folder / f"{name_of(kind)}-{SETTINGS.index(setting)}".replace(" ", "-")
        folder.mkdir()
        if kind is not None:
            options = start_options(setting, around.files)
            try:
                server = stack.enter_context(kind(options=options, zone=setting.zone()))
            except RuntimeError as error:
                return Cell(kind.NAME, "", setting.name, 0, "", "", (str(error),))
        site = ServerSite(folder, server, around.prefect, around.sandbox, setting, around.files)
        version = _version(server)
        if setting.refused:
            return Cell(name_of(kind), version, setting.name, 0, "", *_refusal(site))
        problems = _problems(site, contacts)
        killed = "worker" if server is None else "worker, database"
        return Cell(name_of(kind), version, setting.name, site.imported, killed, "", problems)


def _refusal(site: ServerSite) -> tuple[str, tuple[str, ...]]:
    site.begin("refused")
    try:
        return refusal(site), ()
    except Unexpected as error:
        return "", (str(error),)
    finally:
        site.end()


def _problems(site: ServerSite, contacts: int) -> tuple[str, ...]:
    site.begin("job")
    try:
        unanswered = work(site, contacts)
        # Where each upload was answered, nothing at all may be paid twice.
        expected = Expected(lost_uploads=unanswered, paid_once=unanswered == 0)
        return measure(site, site.setting.name, 0, expected, 0).problems
    except (Unexpected, TimeoutError, DBAPIError) as error:
        return (f"{type(error).__name__}: {error}",)
    finally:
        site.end()


def _version(server: DatabaseServer | None) -> str:
    if server is None:
        return sqlite3.sqlite_version
    engine = engine_for(server.url("mysql"))
    with engine.connect() as connection:
        version = str(connection.exec_driver_sql("SELECT VERSION()").scalar())
    engine.dispose()
    # Behind the number stands how Debian calls it.
    return version.partition("-")[0]
