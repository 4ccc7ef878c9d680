"""Plants each fault and plays until it is found: ``python -m tests.simulation.planted [WORD…]``."""

import argparse
import importlib
import sys
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection

from rich.console import Console

from tests.simulation.planning import plan_of
from tests.simulation.planted.money import MONEY
from tests.simulation.planted.order import ORDER
from tests.simulation.planted.planting import Planted, plant

__all__: list[str] = []

_SLOW_TO_IMPORT = ("pandas", "sqlalchemy.orm", "httpx", "alembic.command", "pydantic")
"""None of the product: of that, each process has its own."""

_people = Console(soft_wrap=True, highlight=False)


def _main() -> int:
    parser = argparse.ArgumentParser(description="Plants faults in the code, and plays until each is found.")
    parser.add_argument("words", nargs="*", help="only faults whose name has one of these words")
    parser.add_argument("--histories", type=int, default=3_000, help="give a fault up after so many")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seconds", type=float, default=1e6, help="give a fault up after so long")
    parser.add_argument("--look", action="store_true", help="only look whether each can still be planted")
    wanted = parser.parse_args()
    every = [*MONEY, *ORDER]
    faults = [one for one in every if not wanted.words or any(word in one.name for word in wanted.words)]
    if wanted.look:
        for fault in faults:
            compile(fault.patched(fault.file.read_text()), fault.module, "exec")
        _people.print(f"{len(faults)} faults can be planted")
        return 0
    for module in _SLOW_TO_IMPORT:
        importlib.import_module(module)
    missed = 0
    for fault in faults:
        number = every.index(fault) + 1
        found, played, what = _find(fault, wanted.seed, wanted.histories, wanted.seconds)
        missed += not found
        said = f"found in history {played}: {what}" if found else f"NOT FOUND in {played} histories {what}"
        _people.print(f"{number:2}. {fault.name}: {said}", markup=False)
    _people.print(f"{len(faults) - missed} of {len(faults)} found")
    return 1 if missed else 0


def _find(fault: Planted, seed: int, histories: int, seconds: float) -> tuple[bool, int, str]:
    here, there = get_context("fork").Pipe(duplex=False)
    child = get_context("fork").Process(target=_play, args=(fault, seed, histories, seconds, there))
    child.start()
    there.close()
    try:
        found: tuple[bool, int, str] = here.recv()
    except EOFError:
        found = False, 0, "the process died"
    child.join()
    return found


def _play(fault: Planted, seed: int, histories: int, seconds: float, answer: Connection) -> None:
    plant(fault)
    # Only now, or the code would be there without the fault.
    from tests.simulation.playing import play  # noqa: PLC0415  # as the line above says

    end = time.monotonic() + seconds
    for number in range(histories):
        plan = plan_of(seed + number)
        if not fault.shows_in(plan):
            continue
        if time.monotonic() > end:
            answer.send((False, number, f"({seconds:g} s)"))
            return
        outcome = play(plan)
        if outcome.broken:
            answer.send((True, number + 1, outcome.broken))
            return
    answer.send((False, histories, ""))


if __name__ == "__main__":
    sys.exit(_main())
