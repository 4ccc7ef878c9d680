"""What the tests of the client share."""

import pytest

from bouncer import client
from tests.bouncer.caller import Caller
from tests.sandbox_process import SandboxHandle


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

    monkeypatch.setattr(client, "sleep", note)
    return waited
