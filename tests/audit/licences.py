"""``python -m tests.audit.licences``: writes docs/licences.md, the licence of everything that an installation holds."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "licences.md"
_HEAD = """# Licences

What an installation holds without the tools for development, with what the image adds; by `make audit` from the lock.
Direct dependencies are bold; [Decisions](decisions.md#dependencies) has the reason for each.

| package | version | licence |
|---|---|---|
"""


def main() -> int:
    """Writes the page.

    Returns:
        0.
    """
    direct, all_of_them = _packages()
    asked = subprocess.run(
        [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed", "--packages", *sorted(all_of_them)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = []
    for package in sorted(json.loads(asked.stdout), key=lambda each: canonicalize_name(each["Name"])):
        name = f"**{package['Name']}**" if canonicalize_name(package["Name"]) in direct else package["Name"]
        lines.append(f"| {name} | {package['Version']} | {_in_short(package['License'])} |\n")
    _PAGE.write_text(_HEAD + "".join(lines))
    return 0


def _packages() -> tuple[set[str], set[str]]:
    """The direct dependencies, and these with all that they need, on this system."""
    # With what the image installs besides.
    needed = _needed_by("bouncer-flows", frozenset({"redis"}))
    direct = set(needed)
    found: dict[str, frozenset[str]] = {}
    todo = list(needed.items())
    while todo:
        name, extras = todo.pop()
        if name in found and extras <= found[name]:
            continue
        found[name] = extras | found.get(name, frozenset())
        todo += _needed_by(name, found[name]).items()
    return direct, set(found)


def _needed_by(name: str, extras: frozenset[str]) -> dict[str, frozenset[str]]:
    try:
        wanted = [Requirement(text) for text in distribution(name).requires or ()]
    except PackageNotFoundError:
        return {}
    return {
        canonicalize_name(each.name): frozenset(each.extras)
        for each in wanted
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    }


def _in_short(licence: str) -> str:
    # Some put the whole text there.
    first = licence.strip().splitlines()[0] if licence.strip() else "UNKNOWN"
    return re.sub(r"\s+", " ", first).replace("|", "/")[:100]


if __name__ == "__main__":
    sys.exit(main())
