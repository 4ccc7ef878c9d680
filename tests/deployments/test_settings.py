"""Settings: read from the environment under the plan's names, refused early, and never shown where they are secret."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.bouncer_account import BouncerAccount
from bouncer.api.base_url import DEFAULT_BASE_URL
from bouncer.errors import SettingRefused
from deployments.settings import Settings, read_settings, variable_of


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)


def test_the_defaults_are_bouncers_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing set, Bouncer's documented limits hold and the database is a file in the home of this project."""
    monkeypatch.setenv("HOME", "/home/someone")
    settings = read_settings()
    assert (settings.max_concurrent_batches, settings.batch_size, settings.rate_limit_per_minute) == (15, 10_000, 200)
    assert (settings.poll_seconds_min, settings.poll_seconds_max) == (10, 30)
    assert (settings.base_url, settings.ambiguous_upload) == (DEFAULT_BASE_URL, "resubmit")
    assert settings.url == "sqlite:////home/someone/.bouncer-flows/contacts.db"
    assert settings.account_values() == {}


def test_only_what_was_set_reaches_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person changed in the UI stays, unless the environment says otherwise; an empty variable says nothing."""
    monkeypatch.setenv("BATCH_SIZE", "500")
    monkeypatch.setenv("POLL_SECONDS_MIN", "")
    assert read_settings().account_values() == {"batch_size": 500}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://api.usebouncer.com", DEFAULT_BASE_URL),
        ("https://api.usebouncer.com/v1.1/", DEFAULT_BASE_URL),
        ("https://proxy.example/bouncer/v1.1", "https://proxy.example/bouncer/v1.1"),
    ],
)
def test_a_base_url_without_its_version_is_mended(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    """Without it Bouncer answered 404 to everything, and the first contact looked as if the service were broken."""
    monkeypatch.setenv("BOUNCER_API_BASE_URL", given)
    assert read_settings().base_url == used
    assert BouncerAccount(api_key=SecretStr("a-key"), base_url=given).base_url == used


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BATCH_SIZE", "0", "BATCH_SIZE: Input should be greater than or equal to 1"),
        ("BATCH_SIZE", "100001", "BATCH_SIZE: Input should be less than or equal to 100000"),
        ("MAX_CONCURRENT_BATCHES", "many", "MAX_CONCURRENT_BATCHES: Input should be a valid integer"),
        ("RATE_LIMIT_PER_MINUTE", "1", "RATE_LIMIT_PER_MINUTE: Input should be greater than or equal to 2"),
        ("POLL_SECONDS_MIN", "0", "POLL_SECONDS_MIN: Input should be greater than 0"),
        (
            "BOUNCER_API_BASE_URL",
            "api.usebouncer.com",
            "BOUNCER_API_BASE_URL: it has the wrong format; change it, or unset it",
        ),
        (
            "BOUNCER_API_BASE_URL",
            "https://api.usebouncer.com/v1",
            "BOUNCER_API_BASE_URL: it must end in /v1.1, as https://api.usebouncer.com/v1.1 does",
        ),
        (
            "BOUNCER_API_BASE_URL",
            "https://me:marked-password@proxy.example/v1.1",
            "BOUNCER_API_BASE_URL: it must hold no user and no password; what opens Bouncer is BOUNCER_API_KEY alone",
        ),
        ("AMBIGUOUS_UPLOAD", "maybe", "AMBIGUOUS_UPLOAD: Input should be 'resubmit' or 'hold'"),
        ("BOUNCER_FLOWS_HOME", "~nobody-here/a", "BOUNCER_FLOWS_HOME: it begins with the home of a user who has none"),
        ("RESULT_MAX_AGE_DAYS", "-1", "RESULT_MAX_AGE_DAYS: Input should be greater than or equal to 0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """The message starts with the variable's name and says what it may be."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingRefused) as refusal:
        read_settings()
    assert str(refusal.value).startswith(message)
    assert "marked" not in str(refusal.value)


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the key nor the database's password is in the text of the settings."""
    monkeypatch.setenv("BOUNCER_API_KEY", "marked-key")
    monkeypatch.setenv("DATABASE_URL", "mysql://me:marked-password@host/name")
    settings = read_settings()
    assert settings.url == "mysql://me:marked-password@host/name"
    assert "marked" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_home_may_be_relative(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home is absolute once it is read, so that a command that changes its folder finds its files again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOUNCER_FLOWS_HOME", "here")
    assert read_settings().bouncer_flows_home == tmp_path / "here"


def test_a_relative_file_is_the_same_one_for_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A worker in another folder once made a second, empty database of the same name there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "sqlite:///contacts.db")
    assert read_settings().url == f"sqlite:///{tmp_path / 'contacts.db'}"
