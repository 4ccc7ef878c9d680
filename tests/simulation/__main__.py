"""Plays histories: ``python -m tests.simulation [--seed N] [--histories N]``; ``make simulate`` calls it."""

import argparse
import os
import sys

from tests.simulation.playing import play_many

__all__: list[str] = []


def _main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description="Plays lives of batches in a simulated world.")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; a fresh one if left out")
    parser.add_argument("--histories", type=int, default=200, help="how many seeds in a row; 1 tells the whole story")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so many seconds, if sooner")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many processes play")
    parser.add_argument("--less", default=None, help="what is left of a history, as its story ends with it")
    wanted = parser.parse_args()
    return play_many(
        wanted.seed, wanted.histories, seconds=wanted.seconds, processes=wanted.processes, less=wanted.less
    )


if __name__ == "__main__":
    sys.exit(_main())
