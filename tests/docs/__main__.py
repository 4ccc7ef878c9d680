"""Follows the documentation word by word: ``python -m tests.docs [--quick] [PAGE …]``.

Each page begins in a clean folder, with a home of its own. The tutorial, which comes first, clones the project and
installs it; the other pages begin in a clone that has what it installed. ``ready.sh`` has what most of them take
for granted.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.docs.following import PageWrong, follow, plain_environment
from tests.docs.page import PageRefused, pages_with_commands

_ROOT = Path(__file__).parents[2]
_TUTORIAL = "docs/tutorial.md"
_QUICK = ("docs/how-to/rotate-a-key.md", "docs/how-to/mend-a-failed-batch.md", "docs/how-to/restore.md")


def main() -> int:
    """Follows the pages that are named, or all.

    Returns:
        0 where all are true, 1 where one is not.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.docs", description="Follows the documentation word by word.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as docs/tutorial.md; all unless told")
    parser.add_argument("--quick", action="store_true", help="only pages that take seconds, with this .venv")
    parser.add_argument("--venv", type=Path, help="an installed .venv to use, instead of the one that is made")
    given = parser.parse_args()
    # A terminal hears Ctrl-C, even where this is run behind a shell's "&", which would have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Told to end, it still closes the terminals, and with them what runs there.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    pages = given.pages or list(_QUICK if given.quick else pages_with_commands(_ROOT))
    with tempfile.TemporaryDirectory(prefix="docs-check-") as name:
        venv = given.venv or (_ROOT / ".venv" if given.quick else None)
        return _follow_all(pages, Path(name), venv.absolute() if venv else None)


def _follow_all(pages: list[str], scratch: Path, venv: Path | None) -> int:
    wrong = 0
    for number, page in enumerate(pages):
        room = scratch / str(number)
        home = room / "home"
        home.mkdir(parents=True)
        _say(page)
        began = time.monotonic()
        # What a page writes there, each new terminal has, as from one's own profile.
        environment = plain_environment(home, REPOSITORY=str(_ROOT), BASH_ENV=str(home / ".terminal"))
        folder = room
        if page != _TUTORIAL:
            folder = _clone(room / "bouncer-flows", venv)
            # The clone that was installed is another one.
            environment["PYTHONPATH"] = str(folder)
        try:
            for line in follow(_ROOT / page, folder, room / "notes", environment):
                _say(f"   {line}")
        except (PageWrong, PageRefused) as error:
            wrong += 1
            _say(f"   WRONG {error}")
        _say(f"   {time.monotonic() - began:.0f} s in all")
        made = room / "bouncer-flows" / ".venv"
        if venv is None and made.is_dir() and not made.is_symlink():
            venv = made
        else:
            shutil.rmtree(room, ignore_errors=True)
    _say(f"{len(pages) - wrong} of {len(pages)} pages are true")
    return 1 if wrong else 0


def _clone(into: Path, venv: Path | None) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(_ROOT), str(into)], check=True)
    if venv is not None:
        (into / ".venv").symlink_to(venv)
        # Make compares it with the files of this clone, which are younger and the same.
        os.utime(venv / "installed")
    return into


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
