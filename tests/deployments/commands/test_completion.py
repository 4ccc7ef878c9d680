"""Shells complete commands, options, choices and files, and start no program for it."""

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from deployments import this_version
from tests.deployments.running_commands import clean_environment, run

_SECONDS = 0.15


@pytest.fixture(scope="module")
def in_bash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, beside a list."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "leads.csv").touch()
    (folder / "completion.bash").write_text(run(["completion", "bash"], clean_environment(folder)).out)
    return folder


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["veri"], "verify verify-risky"),
        (["verify", "--exc"], "--excel"),
        (["verify", "lea"], "leads.csv"),
        (["import", "--priority", ""], "low normal high critical"),
        (["completion", ""], "bash zsh fish"),
    ],
)
def test_bash_completes(in_bash: Path, words: list[str], completed: str) -> None:
    """Within the time that a person does not notice, bash itself included."""
    line = ["bouncer-flows", *words]
    asked = (
        f"source ./completion.bash; COMP_WORDS=({' '.join(map(repr, line))}); COMP_CWORD={len(words)}; "
        '_bouncer_flows; echo "${COMPREPLY[@]}"'
    )
    before = getrusage(RUSAGE_CHILDREN)
    shown = subprocess.run(["bash", "--norc", "-c", asked], cwd=in_bash, capture_output=True, text=True, check=True)
    after = getrusage(RUSAGE_CHILDREN)
    assert shown.stdout.strip() == completed
    # Of the processor, which a busy machine gives later.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < _SECONDS


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_understand_theirs(tmp_path: Path, shell: str) -> None:
    """Their scripts are without a mistake, as far as the shell itself finds one."""
    script = tmp_path / "script"
    script.write_text(run(["completion", shell], clean_environment(tmp_path)).out)
    assert "verify-risky" in script.read_text()
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    subprocess.run([program, "-n", script], check=True)


def test_the_version_is_told(tmp_path: Path) -> None:
    """It said 0.0.0, whatever was installed."""
    assert run(["--version"], clean_environment(tmp_path)).out == f"{version('bouncer-flows')}\n"


def test_the_version_is_told_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the image it was a traceback: the packages are on the path there, and known to no installer."""

    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(this_version, "version", unknown)
    assert this_version.this_version() == version("bouncer-flows")


def test_an_unknown_command_suggests_the_nearest(tmp_path: Path) -> None:
    """A slip of the fingers costs no look into the help."""
    assert 'Did you mean "requests"?' in run(["requets"], clean_environment(tmp_path)).complaint
