"""An import in words."""

from bouncer.files.importing import ImportReport
from bouncer.plurals import counted

__all__ = ["outcome", "remarks"]


def outcome(report: ImportReport) -> str:
    """The import in one line."""
    return (
        f"request {report.request_id} ({report.request_name}): {counted(report.queued, 'contact')} queued, "
        f"{counted(report.duplicates, 'duplicate')}, {counted(report.rejected, 'line')} rejected"
    )


def remarks(report: ImportReport) -> list[str]:
    """Lines on how the file was read: its column, what was taken off the addresses, where rejected lines are listed."""
    held = counted(report.addresses, "address", "addresses")
    lines = [f"column {report.column!r} was taken: {held} in {counted(report.lines, 'line')}"]
    if report.taken_off:
        counts = ", ".join(f"{what} ({count:,})" for what, count in sorted(report.taken_off.items()))
        lines.append(f"taken off addresses: {counts}")
    lines += report.notes
    if report.rejected_file is not None:
        lines.append(f"the rejected lines and their reasons are in {report.rejected_file}")
    return lines
