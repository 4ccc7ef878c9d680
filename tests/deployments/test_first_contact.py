"""The first contact with Bouncer: a wrong key or address is told before anything is made."""

from pathlib import Path

import pytest

from deployments.first_contact import try_key
from deployments.settings import read_settings
from tests.deployments.running_commands import clean_environment, run
from tests.sandbox_process import SandboxHandle


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "BOUNCER_API_KEY is not set; take the key from app.usebouncer.com"),
        ({"BOUNCER_API_KEY": "wrong"}, "Bouncer answered 401: set BOUNCER_API_KEY to the right key"),
        (
            {"BOUNCER_API_KEY": "sandbox-key", "BOUNCER_API_BASE_URL": "{sandbox}/other/v1.1"},
            "BOUNCER_API_BASE_URL: what answers at 127.0.0.1 is not Bouncer's API (HTTP 404",
        ),
        (
            {"BOUNCER_API_KEY": "sandbox-key", "BOUNCER_API_BASE_URL": "http://127.0.0.1:9/v1.1"},
            "Bouncer cannot be reached at 127.0.0.1 (ConnectError)",
        ),
    ],
    ids=["no key", "a wrong key", "another service", "nothing there"],
)
def test_a_first_list_makes_nothing_before_bouncer_has_answered(
    sandbox: SandboxHandle, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    """The message came after a server had been started, tables made and a block written."""
    file = tmp_path / "leads.csv"
    file.write_text("email\nada@example.com\n")
    address = sandbox.url.removesuffix("/v1.1")
    given = {"BOUNCER_API_BASE_URL": sandbox.url} | settings
    environment = clean_environment(tmp_path, **{name: text.format(sandbox=address) for name, text in given.items()})
    assert said in run(["verify", str(file)], environment).complaint
    assert not (tmp_path / "flows").exists()


@pytest.mark.parametrize("command", [["ingest"], ["ingest", "--dry-run"], ["verify-risky"], ["serve"]], ids=" ".join)
@pytest.mark.parametrize("key", ["", "wrong"], ids=["no key", "a wrong key"])
def test_a_wrong_key_is_told_before_a_server_is_started(
    sandbox: SandboxHandle, tmp_path: Path, command: list[str], key: str
) -> None:
    """It took ten seconds to say that there is no key: the local Prefect server was made first."""
    environment = clean_environment(tmp_path, BOUNCER_API_BASE_URL=sandbox.url, BOUNCER_API_KEY=key)
    assert "BOUNCER_API_KEY" in run(command, environment).complaint
    assert not (tmp_path / "flows" / "prefect").exists()


def test_a_key_is_tried_once(sandbox: SandboxHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bouncer answers ten such questions a minute, and commands come more often; another key is another question."""
    monkeypatch.setenv("BOUNCER_FLOWS_HOME", str(tmp_path))
    monkeypatch.setenv("BOUNCER_API_KEY", sandbox.key)
    monkeypatch.setenv("BOUNCER_API_BASE_URL", sandbox.url)
    before = sandbox.ledger()["requests_by_operation"].get("credits", 0)
    for _ in range(3):
        try_key(read_settings())
    assert sandbox.ledger()["requests_by_operation"]["credits"] == before + 1
    assert all(sandbox.key not in path.read_text() for path in tmp_path.iterdir())
