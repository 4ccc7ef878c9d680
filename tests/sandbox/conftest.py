"""One sandbox for all tests of it, served in a thread, with a clock that the tests move."""

import threading
from collections.abc import Iterator

import pytest

from sandbox.server import build_server
from sandbox.settings import SandboxSettings
from tests.sandbox.client import KEY, OTHER_KEY, Api, Clock

_SETTINGS = SandboxSettings(keys={KEY: 1_000_000, OTHER_KEY: 100}, fixed_seconds=100, finish_seconds=5)


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def root(clock: Clock) -> Iterator[str]:
    server = build_server(_SETTINGS, "127.0.0.1", 0, clock)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
        if not thread.is_alive():
            raise RuntimeError("the sandbox did not start")
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def api(root: str, clock: Clock) -> Iterator[Api]:
    """An account with plenty of credits, at a sandbox that has seen nothing yet."""
    api = Api(root, clock)
    with api.http:
        api.control("POST", "/reset")
        yield api


@pytest.fixture
def other_api(api: Api) -> Iterator[Api]:
    """An account with 100 credits."""
    other = Api(api.root, api.clock, OTHER_KEY)
    with other.http:
        yield other
