"""Writes contacts and verdicts to a CSV file."""

from typing import Annotated

from cyclopts import Parameter

from bouncer.plurals import counted
from deployments.commands.contacts import open_contacts, request_number
from deployments.commands.parameters import AddressesOnly, Excel, FileOrDash, Force, OneRequest, Only, Where
from deployments.terminal.console import say

__all__ = ["export"]


def export(
    file: FileOrDash,
    *,
    request: OneRequest = None,
    own_columns: Annotated[
        bool,
        Parameter(negative="", help="The list's own columns, with advice and verdicts behind."),
    ] = False,
    only: Only = None,
    where: Where = None,
    addresses_only: AddressesOnly = False,
    excel: Excel = False,
    force: Force = False,
) -> int:
    """Writes a CSV file with one line for each contact and its verdict; - for standard output.

    The list of a request comes back with its own columns where one of the options for lists is given.
    """
    from bouncer.files.exporting import export_results
    from bouncer.files.lists.destinations import place_of_result, refuse_overwriting
    from deployments.settings import read_settings
    from deployments.terminal.display import row_progress

    engine = open_contacts(read_settings())
    number = request_number(request, engine)
    if not force:
        refuse_overwriting(str(file))
    with row_progress("exporting") as advance:
        if own_columns or only or where is not None or addresses_only or excel:
            from bouncer.errors import InputRefused
            from bouncer.files.lists.results import Choice
            from bouncer.files.lists.returned_list import give_back_list
            from bouncer.verdicts.advice import Advice

            if number is None:
                raise InputRefused("A list comes back one by one; name its request with --request")
            choice = Choice(Advice(only) if only else None, where, addresses_only, excel)
            place = place_of_result("", str(file))
            written = give_back_list(engine, number, place, choice, progress=advance)
            say(f"{counted(written.lines, 'line')} written to {'standard output' if place == '-' else place}")
            return 0
        report = export_results(engine, file, request_id=number, progress=advance)
    say(f"{counted(report.rows, 'contact')} written to {report.path or 'standard output'}")
    return 0
