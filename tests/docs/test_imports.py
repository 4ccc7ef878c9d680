"""Imports go one way, as docs/architecture.md draws it."""

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_MAY_IMPORT = {
    "bouncer": {"bouncer"},
    "blocks": {"blocks", "bouncer"},
    "tasks": {"tasks", "blocks", "bouncer"},
    "flows": {"flows", "tasks", "blocks", "bouncer"},
    "deployments": {"deployments", "flows", "tasks", "blocks", "bouncer", "sandbox"},
    "sandbox": {"sandbox"},
}
_OURS = {*_MAY_IMPORT, "bench", "tests"}


def _imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("folder", _MAY_IMPORT)
def test_a_folder_imports_only_what_stands_below_it(folder: str) -> None:
    """deployments, flows, tasks, blocks, bouncer, in this order; bouncer and sandbox know no Prefect."""
    allowed = _MAY_IMPORT[folder]
    prefect = {"prefect"} if folder in {"bouncer", "sandbox"} else set()
    files = sorted((_ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        str(file.relative_to(_ROOT)): sorted(imported)
        for file in files
        if (imported := _imported(file) & ((_OURS - allowed) | prefect))
    }
    assert wrong == {}
