"""The table of what Bouncer does: no behaviour of the sandbox or the client without a row, no row without its test."""

import ast
import inspect
from pathlib import Path
from typing import get_args

import pytest
from pydantic.fields import FieldInfo

from bouncer.accounts.call_statistics import Call
from bouncer.api import failures
from bouncer.api.answers import BatchCreated, BatchProgress, Credits, Verdict
from bouncer.errors import BouncerFlowsError
from bouncer.probe.behaviours.table import BEHAVIOURS, Behaviour
from sandbox.errors import Message
from sandbox.http import routes
from sandbox.service import verdicts
from sandbox.service.faults import Fault, Operation
from sandbox.settings import SandboxSettings

_ROOT = Path(__file__).parents[2]


def _parts() -> set[str]:
    """What the sandbox and the client do, by names that their own code gives."""
    models: list[dict[str, FieldInfo]] = [BatchCreated.model_fields, BatchProgress.model_fields, Credits.model_fields]
    names = ["BatchCreated", "BatchProgress", "Credits"]
    outcomes = {
        name
        for name, kind in vars(failures).items()
        if inspect.isclass(kind) and issubclass(kind, BouncerFlowsError) and kind is not BouncerFlowsError
    }
    return {
        *(f"setting {name}" for name in SandboxSettings.model_fields),
        *(f"fault {kind}" for kind in get_args(Fault.model_fields["kind"].annotation)),
        *(f"message {message.name}" for message in Message),
        *(f"reason {verdict.reason}" for verdict in verdicts._VERDICTS),
        *(f"call {call}" for call in [*Call, *get_args(Operation)]),
        *(f"call {route.name}" for route in routes.router.routes),  # type: ignore[attr-defined]  # all are named
        *(f"outcome {name}" for name in outcomes),
        *(f"field {name}.{field}" for name, fields in zip(names, models, strict=True) for field in fields),
        *(f"field Verdict.{field}" for field in Verdict.__pydantic_fields__),
        "control ahead",
    }


def test_everything_that_the_sandbox_and_the_client_do_has_a_row() -> None:
    """A behaviour that stands in the code and not in the table would be one that nobody has checked."""
    covered = [part for behaviour in BEHAVIOURS for part in behaviour.covers]
    assert sorted(covered) == sorted(_parts())


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
def test_every_row_s_test_exists(behaviour: Behaviour) -> None:
    """The last column names a test that is there."""
    file, _, name = behaviour.test.partition("::")
    functions = {
        node.name
        for node in ast.walk(ast.parse((_ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in functions


def test_names_are_told_apart() -> None:
    """The probe calls rows by their names."""
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(set(names)) == len(names)


def test_the_probe_says_what_a_difference_means() -> None:
    """Exactly the rows that the probe looks at tell what a difference means for us."""
    asked = {
        node.args[0].value
        for file in (_ROOT / "bouncer" / "probe").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"check", "untried"}
        if isinstance(node.args[0], ast.Constant)
    }
    assert asked == {behaviour.name for behaviour in BEHAVIOURS if behaviour.if_not}


def test_no_call_is_sent_that_has_no_row() -> None:
    """The client knows the calls of the table and no other: not the one that verifies in between."""
    client = (_ROOT / "bouncer" / "api" / "client.py").read_text()
    assert "batch/sync" not in client
    assert {f"call {call}" for call in Call} <= {part for behaviour in BEHAVIOURS for part in behaviour.covers}
