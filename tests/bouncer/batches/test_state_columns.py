"""A state has one home: nobody else reads or writes the columns that it follows from."""

import ast
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_LAYERS = ("bouncer", "blocks", "tasks", "flows", "deployments")
_STATE = {"status", "bouncer_id", "upload_begun_ts", "held_ts", "running_ts", "unanswered"}
_HOMES = {
    "bouncer/batches/state.py",
    "bouncer/batches/transitions.py",
}
_MAY_READ = {
    "bouncer/batches/callbacks.py": ({"bouncer_id"}, "finds whether an id that a callback names is another batch's"),
    "bouncer/batches/batches_in_flight.py": (
        {"running_ts"},
        "measures how long batches ran, and how long they were queued",
    ),
    "bouncer/batches/endings.py": ({"bouncer_id"}, "tells which parts of a refused batch were taken, then settled"),
    "bouncer/batches/ownership.py": (
        {"bouncer_id", "upload_begun_ts"},
        "hands the id to the owner; counts the time in flight, and a lost answer once for each upload",
    ),
    "bouncer/costs/ledger.py": ({"bouncer_id"}, "writes the id into the CSV file"),
    "bouncer/erasure/contacts.py": ({"bouncer_id"}, "names to Bouncer what is to be deleted with an erased contact"),
    "bouncer/requests/cancelling.py": ({"bouncer_id"}, "names to Bouncer what is to be finished"),
    "bouncer/upkeep/deletions.py": ({"bouncer_id"}, "names to Bouncer what is to be deleted"),
    "bouncer/upkeep/retention.py": ({"bouncer_id"}, "names to Bouncer what is to be finished"),
}


def _touched(file: Path) -> set[str]:
    """The columns of a state that a file names: as ``Batch.column``, or as what an UPDATE or INSERT of batches sets."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Batch":
            found |= {node.attr} & _STATE
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            names = {name.id for name in ast.walk(node.func.value) if isinstance(name, ast.Name)}
            if "Batch" in names and "QueuedContact" not in names:
                found |= {keyword.arg for keyword in node.keywords if keyword.arg} & _STATE
    return found


def test_only_the_homes_of_a_state_touch_its_columns() -> None:
    """Nine places had derived "not sent yet" from columns, each a little otherwise; now they ask for a state."""
    found: dict[str, set[str]] = {}
    for layer in _LAYERS:
        for file in sorted((_ROOT / layer).rglob("*.py")):
            name = str(file.relative_to(_ROOT))
            if name not in _HOMES and (touched := _touched(file)):
                found[name] = touched
    assert found == {name: columns for name, (columns, _) in _MAY_READ.items()}


def test_what_touches_a_column_is_found() -> None:
    """The search would see each way in which the homes touch them."""
    for home in _HOMES:
        assert _touched(_ROOT / home) >= {"held_ts", "upload_begun_ts", "running_ts", "unanswered"}
