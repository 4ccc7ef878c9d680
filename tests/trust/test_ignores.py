"""No check is switched off without a reason that stands beside it."""

import re
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# Written so that this file has none itself.
_IGNORE = re.compile(r"#\s*(?:noqa|type: ignore|pragma: no)")
_WITH_REASON = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\])  # \S.{5,}")


def test_every_ignore_names_its_rule_and_its_reason() -> None:
    """Whoever reads an ignore must see what is ignored and why, and none may ignore everything."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=_ROOT, capture_output=True, text=True, check=False)
    files = listed.stdout.split() or [str(path.relative_to(_ROOT)) for path in _ROOT.glob("[a-z]*/**/*.py")]
    bare = [
        f"{file}:{number}"
        for file in files
        for number, line in enumerate((_ROOT / file).read_text().splitlines(), start=1)
        if _IGNORE.search(line) and not _WITH_REASON.search(line)
    ]
    assert bare == []
    assert len(files) > 100
