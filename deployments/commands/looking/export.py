"""Writes contacts and verdicts to a CSV file."""

from deployments.commands.contacts import open_contacts
from deployments.commands.parameters import FileOrDash, OneRequest
from deployments.terminal.console import say

__all__ = ["export"]


def export(file: FileOrDash, *, request: OneRequest = None) -> int:
    """Writes a CSV file with one line for each contact and its verdict; - for standard output."""
    from bouncer.files.exporting import export_results
    from deployments.settings import read_settings
    from deployments.terminal.display import row_progress

    engine = open_contacts(read_settings())
    with row_progress("exporting") as advance:
        report = export_results(engine, file, request_id=request, progress=advance)
    say(f"{report.rows:,} contacts written to {report.path or 'standard output'}")
    return 0
