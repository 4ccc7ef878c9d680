"""Only setup changes a block that is there, and it asks before it points an installation elsewhere."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import ContactsDatabase, engine_of
from blocks.saved_blocks import load_saved
from bouncer.errors import SettingRefused
from deployments.known_database import is_another_database
from deployments.server.local_server import LocalServer
from deployments.settings import Settings
from deployments.setup.check import check_setup
from deployments.setup.replacements import replacements
from deployments.setup.set_up import set_up, set_up_the_rest
from tests.deployments.running_commands import clean_environment, run
from tests.prefect_server import forget_setup, prefect_environment


@pytest.fixture
async def url(prefect_server: LocalServer, tmp_path: Path) -> AsyncIterator[str]:
    await forget_setup()
    yield f"sqlite:///{tmp_path / 'contacts.db'}"
    await forget_setup()


def _settings(url: str, home: Path, **settings: Any) -> Settings:
    return Settings(database_url=url, bouncer_flows_home=home, **{"bouncer_api_key": "first-key", **settings})


async def _saved() -> tuple[str, str]:
    database, account = await load_saved(ContactsDatabase, "default"), await load_saved(BouncerAccount, "default")
    assert database is not None
    assert account is not None
    return database.url.get_secret_value(), account.api_key.get_secret_value()


async def test_a_stray_url_does_not_point_production_elsewhere(url: str, tmp_path: Path) -> None:
    """One DATABASE_URL in a shell pointed production at an empty database; ingest, serve and demo refuse it now."""
    await set_up(_settings(url, tmp_path))
    before = await _saved()
    for stray, said in (
        ({"url": f"sqlite:///{tmp_path / 'empty.db'}"}, r"DATABASE_URL: block .* has the file .* and not the"),
        ({"bouncer_api_key": "second-key"}, "BOUNCER_API_KEY: block bouncer-account/default has another; unset it"),
        ({"batch_size": 7}, "BATCH_SIZE: block bouncer-account/default has another: 7 and not 10000; unset it"),
    ):
        with pytest.raises(SettingRefused, match=said) as refused:
            await set_up_the_rest(_settings(**{"url": url, "home": tmp_path, **stray}))
        assert "key" not in str(refused.value).replace("BOUNCER_API_KEY", "")
    assert await _saved() == before
    assert not (tmp_path / "empty.db").exists()
    # As it was, it works on.
    assert await set_up_the_rest(_settings(url, tmp_path)) == []
    assert await set_up_the_rest(Settings()) == []


@pytest.mark.parametrize(
    ("was", "wanted", "said"),
    [
        ("mysql://me:marked@one/name", "mysql://me:marked@two:3307/name", "has name at one and not name at two:3307"),
        (
            "mysql://me@marked/name",
            "mysql://me@marked2/name",
            "has name on a server without a password and not",
        ),
        ("mysql://me:marked@one/name", "mysql://me%3Amarked@one/name", "has another user, password or option"),
    ],
)
async def test_no_question_shows_a_password(was: str, wanted: str, said: str, url: str, tmp_path: Path) -> None:
    """A URL without a clean password has it in the user's name or the host; two servers are two all the same."""
    await set_up(_settings(url, tmp_path))
    block = await load_saved(ContactsDatabase, "default")
    assert block is not None
    block.url = SecretStr(was)
    await block.save("default", overwrite=True)
    (found,) = await replacements(_settings(wanted, tmp_path))
    assert said in found.what
    assert "marked" not in found.what
    assert found.points_elsewhere == ("another user" not in said)


async def test_a_database_that_was_made_anew_is_noticed(url: str, tmp_path: Path) -> None:
    """The URL is the same, and another database is there: runs are refused, and status tells."""
    settings = _settings(url, tmp_path)
    await set_up(settings)
    assert not is_another_database(tmp_path, engine_of(url))
    with sqlite3.connect(tmp_path / "contacts.db") as database:
        database.execute("UPDATE Bouncer_Database SET id = 'another'")
    database.close()
    assert is_another_database(tmp_path, engine_of(url))
    with pytest.raises(SettingRefused, match="the contacts database: it is not the one of the last run"):
        await set_up_the_rest(settings)
    (found,) = await replacements(settings)
    assert found.points_elsewhere
    assert await set_up(settings) == ["another contacts database is worked on from now on"]
    assert await set_up_the_rest(settings) == []
    assert not is_another_database(tmp_path, engine_of(url))


async def test_a_file_that_is_gone_is_not_made_anew_by_a_look(url: str, tmp_path: Path) -> None:
    """A look once made an empty database, and the file that somebody puts back would have lost to it."""
    settings = _settings(url, tmp_path)
    with pytest.raises(SettingRefused, match=r"there is no file .*contacts.db"):
        await set_up_the_rest(settings)
    assert f"made the database {tmp_path / 'contacts.db'}" in await set_up(settings)
    engine_of(url).dispose()
    (tmp_path / "contacts.db").unlink()
    with pytest.raises(SettingRefused, match=r"there is no file .*contacts.db"):
        await set_up_the_rest(settings)
    assert f"block contacts-database/default names {tmp_path / 'contacts.db'}, which is not there" in " ".join(
        await check_setup(settings)
    )
    assert not (tmp_path / "contacts.db").exists()


async def test_setup_asks_before_it_points_elsewhere(url: str, prefect_server: LocalServer, tmp_path: Path) -> None:
    """Without --yes, and with nobody to ask, it says what it would replace, shows no secret, and changes nothing."""
    await set_up(_settings(url, tmp_path))
    before = await _saved()
    environment = {**clean_environment(tmp_path), **prefect_environment(prefect_server, tmp_path)}
    other = {"DATABASE_URL": f"sqlite:///{tmp_path / 'other.db'}", "BOUNCER_API_KEY": "other-secret"}
    refused = await asyncio.to_thread(run, ["setup"], {**environment, **other})
    assert "nothing is changed without --yes" in refused.complaint
    assert f"has the file {tmp_path / 'contacts.db'} and not" in refused.complaint
    assert "secret" not in refused.complaint
    assert await _saved() == before
    done = await asyncio.to_thread(run, ["setup", "--yes"], {**environment, **other})
    assert done.code == 0, done.err
    assert await _saved() == (other["DATABASE_URL"], "other-secret")
