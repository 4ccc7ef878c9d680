"""Imports go one way, as docs/architecture.md draws it: between the layers, and between the rooms of each."""

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


def _rooms_imported(layer: str) -> dict[str, set[str]]:
    """For each room of a layer (a folder, or a file beside the folders), the other rooms that it imports."""
    found: dict[str, set[str]] = {}
    for file in sorted((_ROOT / layer).rglob("*.py")):
        room = file.relative_to(_ROOT / layer).parts[0].removesuffix(".py")
        imports = found.setdefault(room, set())
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == layer:
                names = node.module.split(".")[1:2] or [name.name for name in node.names]
                imports |= set(names) - {room}
    return found


@pytest.mark.parametrize("layer", [*_MAY_IMPORT, "bench"])
def test_the_rooms_of_a_layer_import_each_other_one_way(layer: str) -> None:
    """No circle between the folders of a layer: each can be read without those that build on it."""
    rooms = _rooms_imported(layer)
    assert rooms
    while free := {room for room, imports in rooms.items() if not imports & rooms.keys()}:
        rooms = {room: imports for room, imports in rooms.items() if room not in free}
    assert rooms == {}


@pytest.mark.parametrize("layer", [*_MAY_IMPORT, "bench", "tests"])
def test_a_folder_is_read_at_a_glance(layer: str) -> None:
    """No folder holds more than twelve modules, beside its ``__init__.py``."""
    crowded = {
        str(folder.relative_to(_ROOT)): len(modules)
        for folder in [_ROOT / layer, *(_ROOT / layer).rglob("*/")]
        if len(modules := [file for file in folder.glob("*.py") if file.name != "__init__.py"]) > 12
    }
    assert crowded == {}
