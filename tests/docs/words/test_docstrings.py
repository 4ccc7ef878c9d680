"""Docstrings say at once what a thing is or does: they begin with the verb or the subject."""

import ast
import re
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[3]
_PRODUCT = ("bouncer", "blocks", "tasks", "flows", "deployments", "sandbox", "bench")
_CLAUSE = re.compile(r"(What|Who|Whose|Whether|How|Which|Where|When)\b")
_FEWER_THAN = 20


@cache
def _docstrings() -> dict[str, str]:
    """All docstrings of modules, classes, functions and attributes, by their places."""
    found = {}
    for layer in _PRODUCT:
        for file in sorted((_ROOT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        found[f"{file.relative_to(_ROOT)}:{node.lineno}"] = text.strip()
    return found


def test_docstrings_begin_with_the_verb_or_the_subject() -> None:
    """Fewer than 20 begin with a relative clause, which a reader understands only at its end."""
    found = _docstrings()
    assert len(found) > 900
    clauses = [f"{place}: {text.splitlines()[0]}" for place, text in found.items() if _CLAUSE.match(text)]
    assert len(clauses) < _FEWER_THAN, "\n".join(clauses)
