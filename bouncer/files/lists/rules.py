"""Rules of people's own on the lines of a result: comparisons of columns, in pandas' words, and nothing that acts.

pandas' ``query`` calls whatever methods a rule names, such as those that write files. A rule may come from a form.
"""

import ast
import re
from typing import Any

import pandas as pd

from bouncer.errors import InputRefused
from bouncer.safe_text import clean_message

__all__ = ["check_rule", "lines_of_rule", "refuse_what_acts"]

_EXAMPLE = "status == 'risky' and score < 60"
_OF_COLUMNS = frozenset({"isin", "isna", "notna", "isnull", "notnull", "between"})
_OF_TEXTS = frozenset({"contains", "startswith", "endswith", "match", "fullmatch", "len", "lower", "upper", "strip"})
_NODES = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.USub, ast.UAdd),
    *(ast.BinOp, ast.Add, ast.Sub, ast.BitAnd, ast.BitOr, ast.Compare, ast.cmpop),
    *(ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.keyword),
)
_WITH_PATTERNS = frozenset({"contains", "match", "fullmatch"})
# What repeats or groups can be tried in more ways than anybody waits for.
_UNSAFE = re.compile(r"[*+?{(]")
_LONGEST_PATTERN = 200
_LONGEST_RULE = 10_000
_MOST_SUMS = 10
# Texts, names of columns in backticks, and all else: so that no backtick within a text hides what stands behind it.
_PIECES = re.compile(r"""(?:'[^'\\`\n]*'|"[^"\\`\n]*"|`[^`'"\n]*`|[^'"`\n@])*""")
_TICKED = re.compile(r"`[^`]*`")


def refuse_what_acts(rule: str) -> None:
    """Checks that a rule only compares.

    Raises:
        InputRefused: It calls or reaches for anything but columns, is too long, has a pattern that could take for ever,
            or cannot be read.
    """
    if len(rule) > _LONGEST_RULE:
        raise InputRefused(f"A rule has {_LONGEST_RULE:,} characters at most; for example: {_EXAMPLE}")
    if _PIECES.fullmatch(rule) is None or "'''" in rule or '"""' in rule:
        raise InputRefused(f"A rule is one line of columns, texts and comparisons; for example: {_EXAMPLE}")
    try:
        tree = ast.parse(_TICKED.sub("column", rule.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputRefused(f"The rule cannot be read; for example: {_EXAMPLE}") from None
    if sum(isinstance(node, ast.Add) for node in ast.walk(tree)) > _MOST_SUMS:
        # Of texts, each makes the column longer by as much: a megabyte became five gigabytes.
        raise InputRefused(f"A rule has {_MOST_SUMS} sums at most; for example: {_EXAMPLE}")
    if not _only_compares(tree):
        raise InputRefused(
            f"A rule compares columns, and calls only {', '.join(sorted(_OF_COLUMNS))} of a column and "
            f"str.{', str.'.join(sorted(_OF_TEXTS))}; for example: {_EXAMPLE}"
        )


def lines_of_rule(frame: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The lines for which a rule is true.

    Raises:
        InputRefused: It cannot be followed.
    """
    refuse_what_acts(rule)
    try:
        return frame.query(rule, engine="python", local_dict={}, global_dict={})
    except Exception as error:  # noqa: BLE001  # a rule can be wrong in any way, and its error is for the person
        raise InputRefused(
            f"The rule cannot be followed ({clean_message(str(error))[:200]}); for example: {_EXAMPLE}"
        ) from None


def check_rule(frame: pd.DataFrame, rule: str) -> None:
    """Checks that a rule chooses among the lines of a frame.

    Raises:
        InputRefused: It does not.
    """
    answer: Any = lines_of_rule(frame, rule)
    if not isinstance(answer, pd.DataFrame):
        raise InputRefused(f"The rule gives no lines; for example: {_EXAMPLE}")


def _only_compares(tree: ast.AST) -> bool:
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Call):
            if not _is_allowed(node.func):
                return False
            _refuse_slow_patterns(node)
            todo += [*node.args, *(keyword.value for keyword in node.keywords)]
            continue
        if not isinstance(node, _NODES) or (isinstance(node, ast.Name) and "__" in node.id):
            return False
        todo += ast.iter_child_nodes(node)
    return True


def _refuse_slow_patterns(call: ast.Call) -> None:
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in _WITH_PATTERNS):
        return
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if call.func.attr == "contains" and isinstance(regex := given.get("regex"), ast.Constant) and regex.value is False:
        return
    for value in [*call.args, *given.values()]:
        if not isinstance(value, ast.Constant) or (
            isinstance(value.value, str) and (_UNSAFE.search(value.value) or len(value.value) > _LONGEST_PATTERN)
        ):
            raise InputRefused(
                f"A pattern of str.{call.func.attr} is one text of at most {_LONGEST_PATTERN} characters without "
                "* + ? { (, which could take for ever; str.contains('(C++)', regex=False) takes them literally"
            )


def _is_allowed(called: ast.expr) -> bool:
    if not isinstance(called, ast.Attribute):
        return False
    of = called.value
    if isinstance(of, ast.Call):
        # Of a text that was made of a column's: column.str.lower().str.contains(…)
        return called.attr in _OF_COLUMNS and _is_allowed(of.func) and not of.args and not of.keywords
    if isinstance(of, ast.Name):
        return called.attr in _OF_COLUMNS
    if isinstance(of, ast.Attribute) and of.attr == "str" and called.attr in _OF_TEXTS:
        inner = of.value
        return isinstance(inner, ast.Name) or (
            isinstance(inner, ast.Call) and _is_allowed(inner.func) and not inner.args and not inner.keywords
        )
    return False
