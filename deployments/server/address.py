"""The Prefect server that is configured, by Prefect's own rules, and the place where that is written.

Asking Prefect itself would fix its settings before a local server is up. A test holds what is found here against what
Prefect says: https://docs.prefect.io/v3/concepts/settings-and-profiles.
"""

import io
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from bouncer.errors import SettingRefused

__all__ = ["Configured", "configured_server", "spare_this_machine_the_proxy"]

_URL = re.compile(r"https?://[!-~]+")
_MOST_BYTES = 1_000_000
_HERE = ("127.0.0.1", "localhost", "::1")
_HERE_FILES = (".env", "prefect.toml", "pyproject.toml")
_WANTED = {"PREFECT_API_URL": "url", "PREFECT_API_KEY": "key", "PREFECT_API_AUTH_STRING": "auth_string"}


@dataclass(frozen=True)
class Configured:
    """A Prefect server that somebody has configured.

    Attributes:
        url: Where its API answers.
        source: Where that is written, for people.
        variables: What makes Prefect use it, in whichever folder it is imported.
    """

    url: str
    source: str
    variables: Mapping[str, str] = field(repr=False)


def configured_server() -> Configured | None:
    """The server that Prefect would use: the first of environment, .env, prefect.toml, pyproject.toml and profile.

    Raises:
        SettingRefused: A file cannot be read or is somebody else's, or there is no such home as PREFECT_HOME names.
    """
    profiles = _profiles_path()
    found: dict[str, str] = {}
    source = ""
    for where, read in _sources(profiles):
        values = read()
        if where in _HERE_FILES and values:
            _refuse_of_others(Path(where))
        for name, value in values.items():
            if name not in found:
                found[name] = value
                source = where if name == "PREFECT_API_URL" else source
    # Set to nothing, it names no server, whatever comes after it says.
    url = found.get("PREFECT_API_URL")
    if url and not _URL.fullmatch(url):
        raise SettingRefused(f"PREFECT_API_URL, as {source} says, is not a URL; write https://HOST/api")
    return Configured(url, source, {name: value for name, value in found.items() if value}) if url else None


def spare_this_machine_the_proxy(environment: MutableMapping[str, str], *others: str) -> None:
    """Lets requests to this machine pass by a proxy that the environment names: it would look for them at itself.

    Args:
        environment: Of this process and its children.
        *others: Further hosts that are this machine: a local server's, whose password is not for a proxy.
    """
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host.strip() for host in environment.get(name, "").split(",") if host.strip()]
        if "*" not in hosts:
            environment[name] = ",".join(dict.fromkeys([*hosts, *_HERE, *others]))


def _sources(profiles: Path) -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    yield "the environment", lambda: {name: os.environ[name] for name in _WANTED if name in os.environ}
    yield ".env", _of_dotenv
    yield "prefect.toml", lambda: _of_table(_toml(Path("prefect.toml")))
    yield "pyproject.toml", lambda: _of_table(_toml(Path("pyproject.toml")).get("tool", {}).get("prefect", {}))
    yield f"the active profile in {profiles}", lambda: _of_profile(profiles)


def _of_dotenv() -> dict[str, str]:
    values = {name.upper(): value or "" for name, value in _dotenv().items()}
    return {name: values[name] for name in _WANTED if name in values}


def _of_table(table: Mapping[str, Any]) -> dict[str, str]:
    api = table.get("api", {})
    return {name: str(api[of]) for name, of in _WANTED.items() if of in api} if isinstance(api, dict) else {}


def _of_profile(profiles: Path) -> dict[str, str]:
    try:
        content = tomllib.loads(profiles.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        # Prefect warns of it, and goes on without.
        return {}
    active = os.environ.get("PREFECT_PROFILE") or content.get("active", "")
    values = content.get("profiles", {}).get(active, {})
    return {name: str(values[name]) for name in _WANTED if name in values}


def _profiles_path() -> Path:
    named = os.environ.get("PREFECT_PROFILES_PATH")
    in_files: dict[str, Callable[[], Any]] = {
        ".env": lambda: _dotenv().get("PREFECT_PROFILES_PATH"),
        "prefect.toml": lambda: _toml(Path("prefect.toml")).get("profiles_path"),
        "pyproject.toml": lambda: _toml(Path("pyproject.toml")).get("tool", {}).get("prefect", {}).get("profiles_path"),
    }
    for file, read in in_files.items():
        if not named and (named := read()):
            _refuse_of_others(Path(file))
    try:
        home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    except RuntimeError:
        # Prefect would end with a traceback as it is imported.
        raise SettingRefused(
            "PREFECT_HOME: it begins with the home of a user who has none; name another folder"
        ) from None
    return Path(named) if named else home / "profiles.toml"


def _refuse_of_others(path: Path) -> None:
    # The file, and the link where it is one: whoever may lay either chooses the server that is told our keys.
    ours = {os.geteuid(), 0}
    if {path.lstat().st_uid, path.stat().st_uid} - ours:
        raise SettingRefused(
            f"{path.absolute()} configures Prefect and belongs to somebody else; work elsewhere, or take it away"
        )


def _dotenv() -> Mapping[str, str | None]:
    path = Path(".env")
    try:
        return dotenv_values(stream=io.StringIO(_text_of(path)))
    except OSError:
        return {}
    except UnicodeDecodeError:
        raise SettingRefused(f"{path.absolute()} is not UTF-8, and Prefect reads it; mend it") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text_of(path))
    except OSError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        raise SettingRefused(f"{path.absolute()} is not valid TOML, and Prefect reads it; mend it") from None


def _text_of(path: Path) -> str:
    # A pipe that somebody laid here would be waited for, a device read for ever: they are no settings.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MOST_BYTES).decode() if stat.S_ISREG(os.fstat(descriptor).st_mode) else ""
