"""Prefect Cloud: a key, no routes of a server's own, and a rate of calls."""

from pathlib import Path

import pytest

from deployments.server.local_server import LocalServer
from tests.contacts import addresses
from tests.deployments.running_commands import clean_environment, run
from tests.deployments.server.cloud import cloud
from tests.sandbox_process import SandboxHandle

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(600)]


def test_a_list_is_verified_through_prefect_cloud(
    prefect_server: LocalServer, sandbox: SandboxHandle, tmp_path: Path
) -> None:
    """Setup, a list, status, uninstall: all pass with the key alone, and wait where too much was asked."""
    list_ = tmp_path / "list.csv"
    list_.write_text("\n".join(["email", *addresses(120)]))
    with cloud(prefect_server.api_url, calls_a_second=15) as workspace:
        environment = clean_environment(
            tmp_path,
            DATABASE_URL=f"sqlite:///{tmp_path / 'contacts.db'}",
            BOUNCER_API_KEY=sandbox.key,
            BOUNCER_API_BASE_URL=sandbox.url,
            BOUNCER_FLOWS_NAME="cloudy",
            BATCH_SIZE="40",
            POLL_SECONDS_MIN="0.5",
            POLL_SECONDS_MAX="1",
            **workspace.environment,
        )
        made = run(["setup", "--yes"], environment)
        assert made.code == 0, made.err
        assert "the Prefect server is" in made.err
        verified = run(["verify", str(list_), "--yes", "--json"], environment, seconds=300)
        assert verified.code == 0, verified.err
        assert len((tmp_path / "list.verified.csv").read_text().splitlines()) == 121
        assert run(["status"], environment).code == 0
        taken_away = run(["uninstall", "--yes"], environment)
        assert taken_away.code == 0, taken_away.err
        # So the rate was passed, and what it refused was asked again.
        assert workspace.refused[429] > 0
        assert workspace.refused[401] == 0
        assert {path.split("/")[0] for path in workspace.paths_refused} == {"admin"}
        without_key = run(["status"], {**environment, "PREFECT_API_KEY": ""})
        setting_up = run(["setup", "--yes"], {**environment, "PREFECT_API_KEY": ""})
    assert (without_key.code, setting_up.code) == (0, 2)
    assert "PREFECT_API_KEY" in setting_up.complaint
    assert "Traceback" not in made.err + verified.err + taken_away.err
