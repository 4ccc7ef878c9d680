"""An installation without a checkout: a wheel has all that commands and servers need of it."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from prefect import get_client

from deployments.server.local_server import LocalServer

pytestmark = pytest.mark.scenario

_PROJECT = Path(__file__).resolve().parents[2]


def _run(*command: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_has_its_deployments(tmp_path: Path) -> None:
    """Serve, deploy and setup --check ended with a message to use a checkout; type checkers were told of no types."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    source = tmp_path / "source"
    # A copy, since building leaves files beside the sources.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=_PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (_PROJECT / name).exists() and not name.startswith(("tests/", "docs/", "bench/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((_PROJECT / name).read_bytes())
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source), folder=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "installed"
    _run(*pip, "install", "--no-deps", "--target", str(place), str(wheel), folder=tmp_path)
    asked = "import deployments.setup.deployments_from_yaml as c; print(c.__file__); print(len(c.deployment_names()))"
    # A repository of somebody's own, with a folder of the same name, is where it is run.
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("raise SystemExit('the flows of somebody else')")
    said = _run(sys.executable, "-P", "-c", asked, folder=tmp_path, PYTHONPATH=str(place)).splitlines()
    assert said[0].startswith(str(place))
    assert int(said[1]) > 10
    assert {str(path.relative_to(place)) for path in place.glob("*/py.typed")} >= {
        "blocks/py.typed",
        "bouncer/py.typed",
    }
    assert (place / "deployments" / "server" / "prefect_tables.sql").is_file()


async def test_the_blocks_are_registered_as_others_are(prefect_server: LocalServer, tmp_path: Path) -> None:
    """`prefect block register -m blocks` puts all three forms into the UI, and they are a collection of Prefect's."""
    _run(sys.executable, "-m", "prefect", "block", "register", "-m", "blocks", folder=tmp_path)
    async with get_client() as client:
        slugs = {one.slug for one in await client.read_block_types()}
    assert {"bouncer-account", "contacts-database", "bouncer-prices"} <= slugs
    assert "blocks" in {one.value for one in entry_points(group="prefect.collections")}
