"""The cluster itself: Prefect's servers behind one address, its background services, and workers.

The same processes and settings as in ``deployments/compose.yaml``, without containers.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.cluster.databases import PostgreSQL, Redis, program_path
from tests.cluster.programs import Program, run_to_end, until
from tests.ports import free_port

__all__ = ["Prefect", "client_environment"]

_PROJECT = Path(__file__).resolve().parents[2]
_START_SECONDS = 180
_BALANCER = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout check 5s
    timeout client 10m
    timeout server 10m
    timeout tunnel 1h
    retries 3
    option redispatch
    retry-on conn-failure
frontend prefect
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk GET /api/health
    default-server check inter 1s fall 2 rise 1
{servers}
"""


class Prefect:
    """Prefect on one address: several server processes, one process for the background services, and a balancer.

    Args:
        postgresql: Where the orchestration database is.
        redis: Where messages, leases and the services' queue are.
        folder: For logs and settings.
        servers: How many server processes.

    Attributes:
        api_url: The one address.
        auth_string: User and password, as clients give them.
    """

    def __init__(self, postgresql: PostgreSQL, redis: Redis, folder: Path, servers: int) -> None:
        self._folder = folder
        self._environment = {
            **_base(folder),
            "PREFECT_HOME": str(folder / "prefect"),
            **server_settings(postgresql.url, redis.url),
        }
        self.auth_string = f"cluster:{secrets.token_hex()}"
        self._environment["PREFECT_SERVER_API_AUTH_STRING"] = self.auth_string
        self._ports = [free_port() for _ in range(servers)]
        self._port = free_port()
        self.api_url = f"http://127.0.0.1:{self._port}/api"
        alone = ["server", "start", "--no-services", "--host", "127.0.0.1"]
        self.servers = [
            self._program(f"server-{number}", [*alone, "--port", str(port)])
            for number, port in enumerate(self._ports, start=1)
        ]
        self.services = self._program("services", ["server", "services", "start"])
        settings = folder / "haproxy.cfg"
        listed = [f"    server server-{number} 127.0.0.1:{port}" for number, port in enumerate(self._ports, start=1)]
        settings.write_text(_BALANCER.format(port=self._port, servers="\n".join(listed)))
        self._balancer = Program(
            "balancer", [program_path("haproxy"), "-db", "-f", str(settings)], _base(folder), folder
        )

    @property
    def programs(self) -> list[Program]:
        """All of them."""
        return [*self.servers, self.services, self._balancer]

    def start(self) -> None:
        """Migrates the orchestration database, starts everything, and waits until each server answers."""
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        run_to_end("migration", command, self._environment, self._folder)
        # One after the other: on an empty database two that start at once both register Prefect's block types, and one
        # of them dies of it.
        for server, port in zip(self.servers, self._ports, strict=True):
            server.start()
            _until_healthy(port, server)
        self.services.start()
        self._balancer.start()
        _until_healthy(self._port, self._balancer)

    def slots_in_use(self, limit: str) -> int | None:
        """How many slots of a limit are held, or None where the server does not tell just now."""
        try:
            address = f"{self.api_url}/v2/concurrency_limits/{limit}"
            user, _, password = self.auth_string.partition(":")
            answer = httpx.get(address, auth=(user, password), timeout=5).raise_for_status()
        except httpx.HTTPError:
            return None
        return int(answer.json()["active_slots"])

    def _program(self, name: str, arguments: list[str]) -> Program:
        return Program(name, [sys.executable, "-m", "prefect", *arguments], self._environment, self._folder)


def server_settings(database_url: str, redis_url: str) -> dict[str, str]:
    """The settings of every server process and of the background services.

    Args:
        database_url: The orchestration database.
        redis_url: What they share besides.
    """
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url,
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_URL": redis_url,
        "PREFECT_SERVER_DOCKET_URL": redis_url,
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
    }


def client_environment(prefect: Prefect, folder: Path, **settings: str) -> Mapping[str, str]:
    """The environment of commands and workers, with a home of their own.

    Args:
        prefect: The servers.
        folder: Their home.
        settings: What is set besides.
    """
    return {
        **_base(folder),
        "PREFECT_API_URL": prefect.api_url,
        "PREFECT_API_AUTH_STRING": prefect.auth_string,
        "PREFECT_HOME": str(folder / "client"),
        "BOUNCER_FLOWS_HOME": str(folder / "flows"),
        **settings,
    }


def _base(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(_PROJECT),
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def _until_healthy(port: int, program: Program) -> None:
    until(lambda: _is_healthy(port), program.name, _START_SECONDS, [program])


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=2).is_success
    except httpx.HTTPError:
        return False
