"""Writes the result of a list: all of it or what a rule asks for, wherever and in whichever form."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from bouncer.addresses.seen_keys import SeenKeys
from bouncer.files.csv.cells import harmless
from bouncer.files.csv.reading import Layout
from bouncer.files.lists.destinations import written_rows
from bouncer.files.lists.list_rows import note_result
from bouncer.files.lists.own_columns import ListLine, list_header, list_lines
from bouncer.files.lists.rules import check_rule, lines_of_rule, refuse_what_acts
from bouncer.files.lists.verdict_columns import VERDICT_COLUMNS
from bouncer.verdicts.advice import Advice

__all__ = ["Choice", "Written", "check_choice", "write_list"]

_NUMBERS = ("score", "toxicity", "deep_score")


@dataclass(frozen=True)
class Written:
    """A result that was written.

    Attributes:
        lines: Lines, the header not counted.
        advice: Of these, by the advice on them.
    """

    lines: int
    advice: dict[str, int]


@dataclass(frozen=True)
class Choice:
    """Choice of lines of a result, and of their columns.

    Attributes:
        only: Lines with this advice; None for all.
        where: Lines for which this rule is true, as pandas' ``query`` has it, over the headers of the result.
        addresses_only: Nothing but the addresses, each once, as mail systems take their suppression lists.
        excel: With a byte order mark and the separator of the locale, as Excel opens it without asking.

    Raises:
        InputRefused: The rule reaches for what is no column.
    """

    only: Advice | None = None
    where: str | None = None
    addresses_only: bool = False
    excel: bool = False

    def __post_init__(self) -> None:
        """Checks the rule."""
        if self.where is not None:
            refuse_what_acts(self.where)


def check_choice(layout: Layout, choice: Choice) -> None:
    """Checks that a choice can be made among the lines of a list, which costs nothing yet.

    Raises:
        InputRefused: Its rule names columns that the result will not have, or gives no lines.
    """
    if choice.where is not None:
        check_rule(_frame([], list_header(layout)), choice.where)


def write_list(
    engine: Engine,
    layout: Layout,
    request_id: int,
    place: str,
    choice: Choice,
    *,
    split: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Writes a list's own columns with advice and verdicts; the file appears whole or not at all.

    Args:
        engine: The contacts database.
        layout: Of the list.
        request_id: The request that was queued from it.
        place: Its place, for ``written_rows``.
        choice: Which lines.
        split: Whether cells with several addresses were split.
        progress: Called with the lines read so far.

    Returns:
        What was written.

    Raises:
        InputRefused: The rule or the place cannot be used.
    """
    header = list_header(layout)
    check_choice(layout, choice)
    chunks = list_lines(engine, layout, request_id, split=split, progress=progress)
    advice: Counter[str] = Counter()
    chosen = _counted(_chosen(chunks, header, choice), advice)
    if choice.addresses_only:
        header, rows = ["email"], _addresses(chosen)
    else:
        rows = (_cells(line) for line in chosen)
    with written_rows(place, excel=choice.excel) as put:
        written = put(list(map(harmless, header)), rows)
    note_result(engine, request_id, place, written)
    return Written(written, dict(advice))


def _counted(lines: Iterable[ListLine], advice: Counter[str]) -> Iterator[ListLine]:
    for line in lines:
        advice[line.verdict["advice"]] += 1
        yield line


def _cells(line: ListLine) -> list[Any]:
    return line.own + [line.verdict[column] for column in VERDICT_COLUMNS]


def _chosen(chunks: Iterable[list[ListLine]], header: list[str], choice: Choice) -> Iterator[ListLine]:
    for chunk in chunks:
        lines = [line for line in chunk if choice.only is None or line.verdict["advice"] == choice.only]
        if choice.where is None or not lines:
            yield from lines
            continue
        for number in lines_of_rule(_frame([_cells(line) for line in lines], header), choice.where).index:
            yield lines[number]


def _frame(rows: list[list[Any]], header: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=header, dtype=object)
    # Of two columns of one name, a rule means the first.
    frame = frame.loc[:, ~frame.columns.duplicated()]
    numbers = [
        name
        for name, column in zip(header[-len(VERDICT_COLUMNS) :], VERDICT_COLUMNS, strict=True)
        if column in _NUMBERS
    ]
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in numbers})


def _addresses(lines: Iterable[ListLine]) -> Iterator[list[str]]:
    seen = SeenKeys()
    for line in lines:
        if line.address is not None and seen.add(pd.Series([line.key]))[0]:
            yield [harmless(line.address)]
