"""The page of a batch's states and transitions, from their declarations."""

import ast
import inspect
import textwrap
from collections.abc import Iterator

from bouncer.batches import state
from bouncer.batches.state import BatchState
from bouncer.batches.transition_table import TRANSITIONS, Transition
from tests.docs.markdown import table

__all__ = ["states_page"]

_SETS = ("AWAITS_UPLOAD", "WITHOUT_ID", "IN_DOUBT", "POLLED", "IN_FLIGHT", "AT_BOUNCER", "BEFORE_VERDICTS", "UNSETTLED")


def states_page() -> str:
    """Each state with its meaning, the diagram, each transition, and the questions that sets of states answer."""
    sets = _documented(ast.parse(inspect.getsource(state)))
    return "\n\n".join(
        [
            "# States of a batch",
            (
                "A batch is in exactly one of these states. Each follows from columns of its row in `Bouncer_Batches`; "
                "`bouncer/batches/state.py` alone reads these columns, and `bouncer/batches/transitions.py` alone "
                "writes them. `bouncer-flows status` shows them by these names."
            ),
            table(("state", "meaning"), [(f"{one}", meaning) for one, meaning in _meanings().items()]),
            "```mermaid\nstateDiagram-v2\n" + "\n".join(_diagram()) + "\n```",
            "## Transitions",
            (
                "Each is one UPDATE that names the states it leads from and, for the owner, the owner's token: where "
                "another run was faster it changes nothing, and the run gives up the batch. A row that is deleted is "
                "gone: nothing of it was ever paid for."
            ),
            table(("transition", "from", "to", "by", "when"), list(map(_row, TRANSITIONS))),
            "## Questions that a set of states answers",
            table(
                ("set", "states", "meaning"),
                [(f"`{name}`", _names(getattr(state, name)), sets[name]) for name in _SETS],
            ),
        ]
    )


def _meanings() -> dict[BatchState, str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(BatchState))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {BatchState[name]: meaning for name, meaning in _documented(body).items()}


def _documented(body: ast.Module | ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for node in body.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = str(node.value.value)
            name = ""
    return found


def _diagram() -> Iterator[str]:
    yield from (f"    {one.name} : {one}" for one in BatchState)
    edges: dict[tuple[str, str], list[str]] = {}
    for transition in TRANSITIONS:
        moves = transition.moves.items() or [(None, (BatchState.READY,))]
        for source, targets in moves:
            for target in targets:
                if source is not target:
                    edge = (source.name if source else "[*]", target.name if target else "[*]")
                    edges.setdefault(edge, []).append(transition.name)
    yield from (f"    {source} --> {target} : {', '.join(names)}" for (source, target), names in edges.items())
    yield from (f"    {one.name} --> [*]" for one in BatchState if one in state.SETTLED)


def _row(transition: Transition) -> tuple[str, str, str, str, str]:
    targets = {target for moves in transition.moves.values() for target in moves} or {BatchState.READY}
    to = [str(one) for one in BatchState if one in targets] + (["deleted"] if None in targets else [])
    return transition.name, _names(transition.sources) or "new", ", ".join(to), str(transition.by), transition.when


def _names(states: frozenset[BatchState]) -> str:
    return ", ".join(str(one) for one in BatchState if one in states)
