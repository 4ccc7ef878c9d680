"""Commands that a person waits for: what they cost beside the start of Python itself, taken in turns."""

import os
import resource
import subprocess
import sys

from bench.measuring import Bench, Row, median
from bench.servers import PROJECT

__all__ = ["starting"]


def starting(bench: Bench) -> list[Row]:
    """Measures help, status and the import of one line on SQLite, as processor time: others' work disturbs it less."""
    home = bench.folder / "starting"
    home.mkdir()
    file = home / "one.csv"
    file.write_text("email\nanna@example.com\n")
    program = ["-m", "deployments.command_line"]
    ways = {
        "python": ["-c", "pass"],
        "bouncer-flows --help": [*program, "--help"],
        "bouncer-flows status": [*program, "status"],
        "bouncer-flows import, one line": [*program, "import", str(file)],
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "BOUNCER_FLOWS_HOME": str(home / "flows")}
    # Once before: the tables are made, and Python has compiled what it imports.
    for arguments in ways.values():
        _milliseconds(arguments, environment)
    figures: dict[str, list[float]] = {what: [] for what in ways}
    for _ in range(3 if bench.quick else 7):
        for what, arguments in ways.items():
            figures[what].append(_milliseconds(arguments, environment))
    floor = median(figures.pop("python"))
    targets = {"bouncer-flows --help": 12.5}
    return [
        Row(
            f"{what}: processor time",
            median(taken),
            "ms",
            floor=floor,
            floor_is="python -c pass",
            most_ratio=targets.get(what, 25),
        )
        for what, taken in figures.items()
    ]


def _milliseconds(arguments: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603  # our own interpreter and constants
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
