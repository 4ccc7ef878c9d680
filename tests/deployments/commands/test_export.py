"""``bouncer-flows export`` as it is typed."""

import subprocess
import sys
from pathlib import Path

from bouncer.files.exporting import COLUMNS
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade


def _export(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deployments.command_line", "export", *arguments],
        env={"PATH": "", "DATABASE_URL": f"sqlite:///{folder / 'contacts.db'}", "BOUNCER_FLOWS_HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_dash_is_standard_output(tmp_path: Path) -> None:
    """The dash that the help promises is not taken for an option."""
    engine = engine_for(f"sqlite:///{tmp_path / 'contacts.db'}")
    upgrade(engine)
    engine.dispose()
    done = _export(tmp_path, "-")
    assert (done.returncode, done.stdout.splitlines()) == (0, [",".join(COLUMNS)])


def test_a_misspelt_option_is_not_a_file(tmp_path: Path) -> None:
    """An option that does not exist is refused in one line and writes nothing."""
    done = _export(tmp_path, "--requst=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no option --requst=3" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("--*"))
