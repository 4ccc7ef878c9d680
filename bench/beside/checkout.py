"""A tree of the project with an environment of its own: this one, or an earlier commit's."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.processes import Command
from bench.servers import PROJECT

__all__ = ["Checkout", "earlier", "running_prefect_server", "this_one"]

_CACHE = Path.home() / ".cache" / "bouncer-flows" / "commits"
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Checkout:
    """A tree whose programs are in its ``.venv``.

    Attributes:
        name: What it is called in the table.
        folder: Where it is.
    """

    name: str
    folder: Path

    def program(self, name: str) -> tuple[str]:
        """The beginning of a command line that runs one of its programs."""
        return (str(self.folder / ".venv" / "bin" / name),)

    def start(self, arguments: list[str], environment: dict[str, str], log: Path) -> Command:
        """Starts ``bouncer-flows`` of this tree.

        Args:
            arguments: The command line, without the program's name.
            environment: The variables that it needs, beside those that name paths.
            log: Where its standard error goes.
        """
        return Command(arguments, environment, log, self.program("bouncer-flows"))


def this_one() -> Checkout:
    """The tree that this program is of."""
    return Checkout("now", PROJECT)


def earlier(commit: str) -> Checkout:
    """The tree of an earlier commit, which is made and installed where it is not there yet; that takes two minutes.

    Args:
        commit: A commit of this repository.

    Raises:
        CalledProcessError: There is no such commit, or it cannot be installed.
    """
    found = subprocess.run(  # noqa: S603  # a person's own argument, which git takes as a name
        ["git", "rev-parse", "--short", "--verify", f"{commit}^{{commit}}"],  # noqa: S607  # whichever git there is
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    name = found.stdout.strip()
    folder = _CACHE / name
    if not folder.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(PROJECT), str(folder)]
        subprocess.run(clone, check=True)  # noqa: S603  # as above
        subprocess.run(["git", "checkout", "--quiet", name], cwd=folder, check=True)  # noqa: S603, S607  # as above
    subprocess.run(["make", "install"], cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S607  # as above
    return Checkout(name, folder)


@contextmanager
def running_prefect_server(checkout: Checkout, home: Path) -> Iterator[str]:
    """Runs the Prefect server of a tree while the block does, as a team has one; yields its API's address.

    Args:
        checkout: The tree whose Prefect it is.
        home: The folder of the server's files.

    Raises:
        RuntimeError: It does not come up.
    """
    home.mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }
    server = Command(
        ["server", "start", "--host", "127.0.0.1", "--port", str(port)],
        environment,
        home / "server.log",
        checkout.program("prefect"),
    )
    try:
        end = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(api):
            if time.monotonic() > end:
                raise RuntimeError(f"the Prefect server of {checkout.name} does not come up")
            time.sleep(0.2)
        yield api
    finally:
        server.kill()


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
