"""Which Prefect server a command works with: what a user has configured is never overruled."""

from pathlib import Path

import pytest

from bouncer.errors import SettingRefused
from deployments.server.orchestration import names_a_server

_PROFILES = """
active = "cloud"
[profiles.local]
PREFECT_LOGGING_LEVEL = "INFO"
[profiles.cloud]
PREFECT_API_URL = "http://prefect.example/api"
"""


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))


def test_nothing_configured() -> None:
    """Without a variable and without a profile, a command starts a server of its own."""
    assert not names_a_server()


def test_the_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """PREFECT_API_URL names the server; set to nothing, it names none."""
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert not names_a_server()
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    assert names_a_server()


def test_the_active_profile_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that `prefect config set` wrote into the active profile is used; one of another profile is not."""
    (tmp_path / "profiles.toml").write_text(_PROFILES)
    assert names_a_server()
    monkeypatch.setenv("PREFECT_PROFILE", "local")
    assert not names_a_server()
    monkeypatch.setenv("PREFECT_PROFILE", "no such profile")
    assert not names_a_server()


def test_a_profile_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    """A broken profiles.toml is Prefect's to complain of; it does not end the command with a traceback."""
    (tmp_path / "profiles.toml").write_text("active = [")
    assert not names_a_server()


def test_the_home_may_be_written_with_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The profile is found where PREFECT_HOME starts with a tilde, or is not set at all."""
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect" / "profiles.toml").write_text(_PROFILES)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_HOME", "~/.prefect")
    assert names_a_server()
    monkeypatch.delenv("PREFECT_HOME")
    assert names_a_server()


@pytest.mark.parametrize("url", ["", "http://prefect.example/api"])
def test_a_home_of_nobody_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Every command ended in a traceback, ours or Prefect's."""
    monkeypatch.setenv("PREFECT_HOME", "~nobody-here/prefect")
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(
        SettingRefused, match="PREFECT_HOME: it begins with the home of a user who has none; name another folder"
    ):
        names_a_server()
