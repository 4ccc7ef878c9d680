"""Lines of an export: what the tables tell of a contact, as cells of a CSV file."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson

from bouncer.files.csv.cells import harmless
from bouncer.safe_text import visible

__all__ = ["COLUMNS", "SEPARATOR", "Line", "line"]

COLUMNS = (
    "email",
    "status",
    "reason",
    "score",
    "provider",
    "domain",
    "accept_all",
    "disposable",
    "free",
    "role",
    "disabled",
    "full_mailbox",
    "toxic",
    "toxicity",
    "did_you_mean",
    "verified_at",
    "outcome",
    "error",
    "request_id",
    "deep_status",
    "deep_reason",
    "deep_score",
    "deep_verified_at",
)
"""The header of an export."""

SEPARATOR = "\x1f"
"""Between the cells of a row that comes as one text: ASCII's unit separator."""

Line = tuple[Any, ...]
"""A cell for each of ``COLUMNS``."""

# Verdicts repeat a few words, and contacts their domains: what was made of one is kept for the next.
_KEPT = 10_000
_text = lru_cache(_KEPT)(harmless)


def line(cells: Sequence[Any]) -> Line:
    """Makes a line.

    Args:
        cells: Number in the queue, email, status, reason, score, provider, domain and account as JSON, toxic, toxicity,
            proposed address, time of the verdict as ``2026-01-31 12:00:00``, outcome, error, number of the request, and
            the deep verdict as a JSON array of status, reason, score and time. None or an empty text is what is not
            known.
    """
    (
        _,
        email,
        status,
        reason,
        score,
        provider,
        domain,
        account,
        toxic,
        toxicity,
        did_you_mean,
        verified,
        outcome,
        error,
        request_id,
        deep,
    ) = cells
    return (
        harmless(email or ""),
        _text(status or ""),
        _text(reason or ""),
        score,
        _text(provider or ""),
        *_domain(domain),
        *_account(account),
        _text(toxic or ""),
        toxicity,
        harmless(did_you_mean) if did_you_mean else "",
        _time(verified),
        outcome,
        _text(error or ""),
        request_id,
        *_deep(deep),
    )


@lru_cache(_KEPT)
def _domain(document: str | None) -> Line:
    return _members(document, "name", "acceptAll", "disposable", "free")


@lru_cache(_KEPT)
def _account(document: str | None) -> Line:
    return _members(document, "role", "disabled", "fullMailbox")


def _members(document: str | None, *names: str) -> Line:
    found = (orjson.loads(document) if document else None) or {}
    return tuple(_cell(found.get(name)) for name in names)


def _deep(verdict: str | None) -> Line:
    status, reason, score, verified = orjson.loads(verdict) if verdict else [None] * 4
    return _cell(status), _cell(reason), score, _time(verified)


def _cell(value: Any) -> Any:
    # What should be a word may be a list of them: no workbook has a cell for that, and a text is guarded.
    return harmless(visible(str(value))) if isinstance(value, str | list | dict) else value


def _time(moment: str | None) -> str:
    return f"{moment[:10]}T{moment[11:19]}Z" if moment else ""
