"""``python -m bench.beside 41462f3``: what a person waits for, now and at that commit, in turns."""

import os
import sys
import tempfile
from pathlib import Path

import cyclopts

from bench.beside.checkout import earlier, this_one
from bench.beside.waiting import TO_REACH, waited_for
from bench.measuring import median
from bench.servers import running_sandbox

app = cyclopts.App(name="bench.beside", version_flags=())


@app.default
def beside(commit: str, *, rounds: int = 5) -> None:
    """Prints a table in Markdown for docs/performance.md, on standard output: medians in seconds.

    Args:
        commit: The earlier commit.
        rounds: How often everything is done in each tree.
    """
    before, now = earlier(commit), this_one()
    taken: dict[str, list[dict[str, float]]] = {before.name: [], now.name: []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="beside-") as temporary, running_sandbox(1.0) as sandbox:
        for number in range(rounds):
            for checkout in (before, now):
                sys.stderr.write(f"round {number + 1} of {rounds}: {checkout.name}\n")
                folder = Path(temporary) / f"{checkout.name}-{number}"
                folder.mkdir()
                taken[checkout.name].append(waited_for(checkout, sandbox, folder))
    lines = [
        f"Medians of {rounds}, in turns, with a load of {load:.1f} before.",
        "",
        f"| what | at {before.name}, s | now, s | ratio | to reach, s | reached |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for what, to_reach in TO_REACH.items():
        then, here = (median([figures[what] for figures in taken[each.name]]) for each in (before, now))
        target, reached = ("", "") if to_reach is None else (f"{to_reach:g}", "yes" if here <= to_reach else "**no**")
        lines.append(f"| {what} | {then:.2f} | {here:.2f} | {here / then:.2f} | {target} | {reached} |")
    sys.stdout.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    app()
