"""``python -m tests.chaos``: plays chaos scenarios, with a table at the end."""

import re
import sys
import tempfile
import time
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.table import Table

from tests.chaos.invariants import Outcome
from tests.chaos.processes import prepare_forks
from tests.chaos.runner import play_all
from tests.chaos.scenarios import all_scenarios

app = App(name="python -m tests.chaos", help="Kills, cuts and starves everything, and looks whether all holds.")
_SEEDS = 2
_progress = Console(stderr=True, highlight=False)


@app.default
def chaos(
    *,
    everything: bool = False,
    scenarios: int | None = None,
    seed: int = 1,
    only: str = "",
    sites: int = 6,
    keep: Path | None = None,
) -> int:
    """Plays scenarios, each kind with one seed after the other, and prints what came out.

    Left alone it plays the short form: kinds that only real processes and servers can show, each once.

    Args:
        everything: Play all kinds, each with two seeds.
        scenarios: How many to play.
        seed: The first seed.
        only: Just the kinds whose name has a match of this regular expression, whether or not the short form has them.
        sites: How many at once, each with servers of its own.
        keep: A folder that keeps the logs of all runs; they go if it is left out.
    """
    wished = everything or only
    kinds = [kind for kind in all_scenarios() if re.search(only, kind.name) and (wished or kind.short)]
    if not kinds:
        _progress.print(f"no scenario's name has a match of {only}", markup=False)
        return 2
    scenarios = len(kinds) * (_SEEDS if everything else 1) if scenarios is None else scenarios
    # The longest are the last of the list; begun last they would keep one site busy while others have nothing to do.
    longest_first = kinds[::-1]
    wanted = [(longest_first[number % len(kinds)], seed + number // len(kinds)) for number in range(scenarios)]
    began = time.monotonic()
    done = 0

    def tell(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        verdict = "holds" if not outcome.problems else f"DOES NOT HOLD: {'; '.join(outcome.problems)}"
        line = f"{done}/{scenarios} {time.monotonic() - began:.0f} s  {outcome.scenario}, seed {outcome.seed}"
        _progress.print(f"{line}, {outcome.seconds:.0f} s: {verdict}", markup=False, soft_wrap=True)

    prepare_forks()
    with tempfile.TemporaryDirectory(prefix="chaos-") as temporary:
        folder = Path(temporary) if keep is None else keep.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = play_all(wanted, sites=min(sites, scenarios), folder=folder, told=tell)
    _print(outcomes, [kind.name for kind in kinds])
    return 0 if len(outcomes) == scenarios and not any(outcome.problems for outcome in outcomes) else 1


def _print(outcomes: list[Outcome], names: list[str]) -> None:
    table = Table(title=f"{len(outcomes)} scenarios, each followed by a plain restart", caption_justify="left")
    table.add_column("scenario")
    for heading in (
        "runs",
        "contacts queued",
        "settled",
        "held",
        "lost",
        "declared twice",
        "paid twice",
        "most in flight",
        "most requests in 60 s",
        "holds",
    ):
        table.add_column(heading, justify="right")
    for name in names:
        if mine := [outcome for outcome in outcomes if outcome.scenario == name]:
            table.add_row(name, *_summed(mine))
    table.add_section()
    table.add_row("all", *_summed(outcomes))
    console = Console(width=None if sys.stdout.isatty() else 180)
    console.print(table)


def _summed(outcomes: list[Outcome]) -> list[str]:
    fullest = max(outcomes, key=lambda outcome: (outcome.most_in_flight - outcome.slots, outcome.most_in_flight))
    busiest = max(outcomes, key=lambda outcome: (outcome.most_requests - outcome.ceiling, outcome.most_requests))
    broken = [outcome.seed for outcome in outcomes if outcome.problems]
    return [
        f"{len(outcomes)}",
        *(
            f"{sum(getattr(outcome, what) for outcome in outcomes):,}"
            for what in ("queued", "settled", "held", "lost", "declared_twice", "paid_twice")
        ),
        f"{fullest.most_in_flight} of {fullest.slots}",
        f"{busiest.most_requests} of {busiest.ceiling}",
        "yes" if not broken else f"NO: seeds {', '.join(map(str, broken))}",
    ]


if __name__ == "__main__":
    sys.exit(app(exit_on_error=True))
