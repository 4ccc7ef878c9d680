"""The columns behind a list's own: the advice, the verdict, where the line stands."""

from collections.abc import Sequence
from typing import Any

from bouncer.files.export_columns import COLUMNS, line
from bouncer.verdicts.advice import Known, advise

__all__ = ["VERDICT_COLUMNS", "Verdict", "no_verdict", "verdict_of", "with_advice"]

Verdict = dict[str, Any]
"""A cell for each of ``VERDICT_COLUMNS``, by its name."""

VERDICT_COLUMNS = ("advice", "advice_reason", *(column for column in COLUMNS if column != "email"))
"""The headers; the address is the list's own."""


def with_advice(cells: dict[str, Any], *, is_ambiguous: bool = False) -> Verdict:
    """Adds the advice to the cells of an export's line.

    Args:
        cells: By ``COLUMNS``.
        is_ambiguous: Whether it was rejected, although it holds addresses.
    """
    is_deep = cells["deep_status"] not in {None, "", "unknown"}
    known = Known(
        outcome="ambiguous" if is_ambiguous else cells["outcome"],
        status=cells["deep_status"] if is_deep else cells["status"],
        reason=cells["deep_reason"] if is_deep else cells["reason"],
        accept_all=cells["accept_all"],
        full_mailbox=cells["full_mailbox"],
        # Of the database as text, and of a result without any as an empty one.
        toxicity=int(cells["toxicity"]) if cells["toxicity"] not in {None, ""} else None,
    )
    advice, reason = advise(known)
    return {**cells, "advice": advice.value, "advice_reason": reason}


def verdict_of(cells: Sequence[Any]) -> Verdict:
    """Makes the cells of a queued contact.

    Args:
        cells: Those that ``bouncer.files.export_columns.line`` takes.
    """
    return with_advice(dict(zip(COLUMNS, line(cells), strict=True)))


def no_verdict(outcome: str, error: str, *, is_ambiguous: bool = False) -> Verdict:
    """Makes the cells of a line that has no contact.

    Args:
        outcome: Why not, in a word.
        error: The same for a person.
        is_ambiguous: Whether it was rejected, although it holds addresses.
    """
    return with_advice({**dict.fromkeys(COLUMNS, ""), "outcome": outcome, "error": error}, is_ambiguous=is_ambiguous)
