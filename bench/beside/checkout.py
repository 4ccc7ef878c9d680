"""A tree of the project with an environment of its own: this one, or an earlier commit's."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.servers import PROJECT

__all__ = ["Checkout", "earlier", "local_server_of", "this_one"]

_CACHE = Path.home() / ".cache" / "bouncer-flows" / "commits"
_PATIENCE_SECONDS = 60.0
_HOLD = """
import sys
from pathlib import Path
try:
    from deployments.server.local_server import local_server
except ImportError:
    from deployments.local_server import local_server
with local_server(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


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
def local_server_of(checkout: Checkout, home: Path) -> Iterator[None]:
    """Keeps the local Prefect server of a home running while the block does, as ``serve`` does without its runs.

    Args:
        checkout: The tree whose server it is.
        home: BOUNCER_FLOWS_HOME.

    Raises:
        RuntimeError: It does not come up.
    """
    holder = subprocess.Popen(  # noqa: S603  # our own program and constants
        [*checkout.program("python"), "-c", _HOLD, str(home)],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if holder.stdout is None or holder.stdout.readline().strip() != "up":
            raise RuntimeError(f"the local server of {checkout.name} does not come up")
        yield
    finally:
        # At the end of its input it lets the server go.
        holder.communicate(timeout=_PATIENCE_SECONDS)
