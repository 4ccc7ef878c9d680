"""A Prefect server that scenarios kill and start again."""

import os
import signal
from pathlib import Path

import httpx

from deployments.server.local_server import LocalServer
from tests.chaos.waiting import wait_until
from tests.ports import free_port

__all__ = ["PrefectServer", "kill_local_server"]


class PrefectServer:
    """A Prefect server as the command line starts it, but under the hand of the scenario.

    Args:
        home: The folder of its database, leases and log.
    """

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        # A port of its own, so that servers which start at once do not take the same one.
        (home / "server.port").write_text(str(free_port()))
        self._home = home
        self._server = LocalServer(home)

    @property
    def api_url(self) -> str:
        """Where its API answers."""
        return self._server.api_url

    def start(self) -> None:
        """Starts it, on the data and the port that it had before, and waits until it answers."""
        self._server.ensure()

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        kill_local_server(self._home)

    def stop(self) -> None:
        """Ends it."""
        self._server.stop()

    def held_slots(self, limit: str) -> int:
        """How many slots of a limit are held."""
        answer = httpx.get(f"{self.api_url}/v2/concurrency_limits/{limit}", timeout=30).raise_for_status()
        return int(answer.json()["active_slots"])


def kill_local_server(home: Path) -> None:
    """Kills the local Prefect server of a home with SIGKILL, and waits until it is gone."""
    server = int((home / "server.pid").read_text())
    os.kill(server, signal.SIGKILL)
    # Not until its port is free: whoever has started it keeps that, so that no stranger takes it meanwhile.
    wait_until(lambda: _is_gone(server), "the Prefect server's end", 30)


def _is_gone(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    # What stands behind the name in brackets is the state; a zombie has ended.
    return stat.rpartition(")")[2].split()[0] == "Z"
