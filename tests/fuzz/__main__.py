"""``python -m tests.fuzz``: each property under a fuzzer that follows the branches of the code, for a time."""

import subprocess
import sys
import tempfile
from pathlib import Path

from cyclopts import App
from rich.console import Console

from tests.fuzz.seeds import SEEDS

app = App(
    name="python -m tests.fuzz", help="Fuzzes CSV import, addresses, Bouncer's answers, exported cells, settings."
)
_told = Console(stderr=True, highlight=False, soft_wrap=True)
_PROJECT = Path(__file__).resolve().parents[2]
_MEGABYTES = 2048
_SECONDS_AN_INPUT = 30
_LONGEST_INPUT = 20_000
# Atheris keeps some 40 kB of each run that follows many branches, which the code itself does not: within the memory
# that one input may take, a process lasts so long.
_SECONDS_A_PROCESS = 120


@app.default
def fuzz(*only: str, seconds: int = 600, keep: Path = Path(".fuzz")) -> int:
    """Runs the fuzzers one after the other; one that finds something leaves the input in its folder, and goes on.

    Args:
        only: Just these, by name; all of them if left out.
        seconds: For how long each.
        keep: Where inputs that led somewhere new are kept, for the next time to begin with.
    """
    unknown = set(only) - SEEDS.keys()
    if unknown:
        _told.print(f"there is no fuzzer {min(unknown)}; there are {', '.join(SEEDS)}")
        return 2
    failed = [name for name in only or SEEDS if not _holds(name, seconds, keep.absolute())]
    for name in failed:
        _told.print(f"{name}: DOES NOT HOLD; the input is in {keep / name}")
    _told.print(f"{len(only or SEEDS) - len(failed)} of {len(only or SEEDS)} properties hold")
    return 1 if failed else 0


def _holds(name: str, seconds: int, keep: Path) -> bool:
    corpus, found = keep / name / "corpus", keep / name
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as seeds:
        for number, seed in enumerate(SEEDS[name]):
            (Path(seeds) / str(number)).write_bytes(seed)
        _told.print(f"{name}: for {seconds} s")
        for begun in range(0, seconds, _SECONDS_A_PROCESS):
            if not _holds_for(name, min(_SECONDS_A_PROCESS, seconds - begun), found, [corpus, Path(seeds)]):
                return False
    return True


def _holds_for(name: str, seconds: int, found: Path, inputs: list[Path]) -> bool:
    options = {
        "max_total_time": seconds,
        "rss_limit_mb": _MEGABYTES,
        "timeout": _SECONDS_AN_INPUT,
        "max_len": _LONGEST_INPUT,
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "tests.fuzz.one", name, *(f"-{key}={value}" for key, value in options.items())]
    done = subprocess.run([*command, f"-artifact_prefix={found}/", *map(str, inputs)], cwd=_PROJECT, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(app(exit_on_error=True))
