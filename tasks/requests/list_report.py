"""Report on a list, for people, for programs and for the exit code."""

from dataclasses import dataclass

from bouncer.files.import_text import remarks
from bouncer.files.importing import ImportReport
from bouncer.files.lists.results import Written
from bouncer.plurals import counted
from bouncer.safe_text import without_addresses

__all__ = ["ListReport"]


@dataclass(frozen=True)
class ListReport:
    """Result of a list.

    Attributes:
        request_id: Its request.
        request_name: The request's name.
        column: The column that the addresses were taken from.
        lines: Its lines, the header and blank ones not counted.
        rejected: Lines without a valid address.
        written: Lines of the result.
        advice: Lines of the result by the advice on them.
        credits: What this run paid.
        credits_in_all: What all runs paid for this list.
        result: Where the result is.
        remarks: How the list was read: its column, what was taken off the addresses, where rejected lines are listed.
        message: The result in one line.
    """

    request_id: int
    request_name: str
    column: str
    lines: int
    rejected: int
    written: int
    advice: dict[str, int]
    credits: int
    credits_in_all: int
    result: str
    remarks: tuple[str, ...]
    message: str

    @classmethod
    def of(
        cls, imported: ImportReport, written: Written, result: str, *, credits_now: int, credits_in_all: int
    ) -> "ListReport":
        """Puts it together."""
        advice = ", ".join(f"{written.advice.get(kind, 0):,} {kind}" for kind in ("send", "review", "suppress"))
        earlier = f" ({credits_in_all:,} with earlier runs)" if credits_in_all != credits_now else ""
        return cls(
            request_id=imported.request_id,
            request_name=imported.request_name,
            column=imported.column,
            lines=imported.lines,
            rejected=imported.rejected,
            written=written.lines,
            advice=written.advice,
            credits=credits_now,
            credits_in_all=credits_in_all,
            result=result,
            remarks=tuple(without_addresses(line) for line in remarks(imported)),
            message=f"{imported.request_name}: {counted(written.lines, 'line')}: {advice}; "
            f"{counted(credits_now, 'credit')}{earlier}; the result is in {result}",
        )
