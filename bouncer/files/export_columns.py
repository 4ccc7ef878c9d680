"""Lines of an export: what the tables tell of a contact, as cells of a CSV file."""

import csv
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from io import StringIO
from typing import Any

import orjson

from bouncer.files.csv.cells import harmless
from bouncer.safe_text import visible

__all__ = ["CELLS", "COLUMNS", "PARTS", "SEPARATOR", "Line", "csv_line", "line"]

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

CELLS = 16
"""The number of cells that ``line`` takes."""

PARTS = (slice(1), slice(1, 2), slice(2, 6), slice(6, 7), slice(7, 10), slice(10, 11), slice(11, CELLS))
"""Stretches of these cells that lines repeat each by itself, behind the number and the address."""

SEPARATOR = "\x1f"
"""Between the cells of a row that comes as one text: ASCII's unit separator."""

Line = tuple[Any, ...]
"""A cell for each of ``COLUMNS``."""

# Verdicts repeat a few words, and contacts their domains: what was made of one is kept for the next.
_KEPT = 10_000
_text = lru_cache(_KEPT)(harmless)
# Most addresses: nothing that begins or ends a cell for a spreadsheet, and nothing that CSV puts into quotes.
_ORDINARY = re.compile(r"[A-Za-z0-9][^,;|\"\t\r\n]*")


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


def csv_line(parts: Sequence[Any]) -> str:
    """Makes a line as text, as ``csv.writer`` makes it of what ``line`` does.

    Args:
        parts: The cells that ``line`` takes: the number and the address, then for each other of ``PARTS`` its cells, or
            a text of them with ``SEPARATOR`` between.
    """
    _, email, verdict, domain, account, proposed, outcome = parts
    email = email or ""
    if not _ORDINARY.fullmatch(email):
        email = _csv((harmless(email),))
    return (
        f"{email},{_verdict(verdict)},{_domain_part(domain)},{_account_part(account)},{_proposed(proposed)},"
        f"{_outcome(outcome)}\r\n"
    )


def _part(cells: slice, columns: slice) -> Callable[[Any], str]:
    # Columns of a line that these cells alone decide: most contacts share them with others.
    @lru_cache(_KEPT)
    def part(of: Any) -> str:
        whole: list[Any] = [None] * CELLS
        whole[cells] = of.split(SEPARATOR) if isinstance(of, str) else of
        return _csv(line(whole)[columns])

    return part


_verdict = _part(PARTS[2], slice(1, 5))
_domain_part = _part(PARTS[3], slice(5, 9))
_account_part = _part(PARTS[4], slice(9, 14))
_proposed = _part(PARTS[5], slice(14, 15))
_outcome = _part(PARTS[6], slice(15, None))


def _csv(cells: Line) -> str:
    text = StringIO()
    # With another behind it: alone in a line, an empty cell is written as quotes.
    csv.writer(text).writerow((*cells, ""))
    return text.getvalue()[: -len(",\r\n")]


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
    if not verdict:
        return None, None, None, ""
    status, reason, score, verified = orjson.loads(verdict)
    return _cell(status), _cell(reason), score, _time(verified)


def _cell(value: Any) -> Any:
    # What should be a word may be a list of them: no workbook has a cell for that, and a text is guarded.
    return harmless(visible(str(value))) if isinstance(value, str | list | dict) else value


def _time(moment: str | None) -> str:
    return f"{moment[:10]}T{moment[11:19]}Z" if moment else ""
