"""The arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

__all__ = [
    "LARGEST_COUNT",
    "AddressesOnly",
    "AsJson",
    "Credits",
    "DryRun",
    "Excel",
    "FileOrDash",
    "Force",
    "Id",
    "ListPlace",
    "OneAccount",
    "OneRequest",
    "OneRequestOnly",
    "Only",
    "RequestToErase",
    "Result",
    "Verbose",
    "Where",
    "not_an_option",
]

LARGEST_COUNT = 2**31 - 1
"""The largest number that the tables have room for."""

_LARGEST_ID = 2**63 - 1
"""Keys of an application's tables can be of this size; SQLite's driver dies of larger ones."""


def not_an_option(file: Path) -> None:
    """Keeps a misspelt option from becoming the name of a file.

    Raises:
        ValueError: It looks like an option.
    """
    if str(file).startswith("-") and str(file) != "-":
        raise ValueError(f"there is no option {file}")


def _within_bounds(kind: Any, given: str | None) -> None:
    if given is not None and given.strip().removeprefix("-").isdecimal():
        Id(kind, int(given))


Id = validators.Number(gte=1, lte=_LARGEST_ID)
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object and nothing else.")]
Verbose = Annotated[bool, Parameter(name="--verbose", negative="", help="Show the runs' logs, not just warnings.")]
DryRun = Annotated[bool, Parameter(negative="", help="Only forecast the cost; change nothing.")]
Credits = Annotated[
    int | None,
    Parameter(
        help="The most credits to commit, 0 for any number; the rest waits.",
        validator=validators.Number(gte=0, lte=LARGEST_COUNT),
    ),
]
OneAccount = Annotated[str | None, Parameter(name="--account", help="The name of one account block; all if left out.")]


def _request(words: str) -> Parameter:
    return Parameter(name="--request", help=words, allow_leading_hyphen=True, validator=_within_bounds)


OneRequest = Annotated[
    str | None,
    _request("The name or number of one request; all if left out."),
]
RequestToErase = Annotated[
    str | None,
    _request("The request to erase, by name or number; either this or --email."),
]
OneRequestOnly = Annotated[
    str,
    _request("The name or number of the request."),
]
# A path too, though it is always a text that comes: so shells complete the names of files.
ListPlace = Annotated[
    str | Path,
    Parameter(
        help="A CSV file or Excel workbook, packed or not; a URL (https, s3, gs, …); - for standard input.",
        allow_leading_hyphen=True,
        validator=lambda _, place: not_an_option(Path(place)),
    ),
]
Result = Annotated[
    str | Path | None,
    Parameter(
        help="A file (.csv, .csv.gz or .xlsx), a URL, or - for standard output; NAME.verified.csv if left out.",
        allow_leading_hyphen=True,
        validator=lambda _, place: place is None or not_an_option(Path(place)),
    ),
]
FileOrDash = Annotated[
    Path, Parameter(help="A CSV file.", allow_leading_hyphen=True, validator=lambda _, file: not_an_option(file))
]
Only = Annotated[
    Literal["send", "review", "suppress"] | None, Parameter(help="Only the lines with this advice; all if left out.")
]
Where = Annotated[
    str | None,
    Parameter(help="A rule on the columns of the result, as pandas' query has it: status == 'risky' and score < 60."),
]
AddressesOnly = Annotated[
    bool, Parameter(negative="", help="Nothing but the addresses, each once, as mail systems take suppression lists.")
]
Excel = Annotated[
    bool, Parameter(negative="", help="With a byte order mark and the separator of the locale, as Excel opens it.")
]
Force = Annotated[bool, Parameter(negative="", help="Overwrite a file that is there already.")]
