"""The simulation can be trusted: what a seed tells today it tells tomorrow, in any process."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def _digests(hash_seed: str) -> list[str]:
    code = (
        "from tests.simulation.playing import play_one\n"
        "for seed in (3, 8):\n"
        "    outcome = play_one(seed)\n"
        "    print(seed, outcome.digest, outcome.broken)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_same_seed_gives_the_same_history_byte_for_byte() -> None:
    """In two processes, with hashes of texts that differ."""
    assert _digests("1") == _digests("2")
