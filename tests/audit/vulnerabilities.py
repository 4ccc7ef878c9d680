"""``python -m tests.audit.vulnerabilities``: known vulnerabilities of what the lock names, if data is to be had."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

_PROJECT = Path(__file__).resolve().parents[2]
_told = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> int:
    """Asks pip-audit about requirements.lock.

    Returns:
        1 where a vulnerability is known, 0 where none is, or where nobody could be asked, which is said.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        asked = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--requirement", str(_PROJECT / "requirements.lock")),
                *("--disable-pip", "--require-hashes", "--format", "json", "--output", str(answer), "--timeout", "20"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if not answer.exists() or not answer.read_text().strip():
            last = asked.stderr.strip().splitlines()[-1] if asked.stderr.strip() else "it gave no reason"
            _told.print(f"vulnerabilities: NOT CHECKED, pip-audit could not get its data: {last[:200]}", markup=False)
            return 0
        known = json.loads(answer.read_text())["dependencies"]
        found = [package for package in known if package.get("vulns")]
    for package in found:
        ids = ", ".join(each["id"] for each in package["vulns"])
        _told.print(f"vulnerabilities: {package['name']} {package['version']}: {ids}", markup=False)
    if unknown := sum("skip_reason" in package for package in known):
        _told.print(f"vulnerabilities: {unknown} of {len(known)} packages NOT CHECKED, the index has no data on them")
    _told.print(f"vulnerabilities: {len(found)} packages with known ones", markup=False)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
