"""Bouncer's own queue: what it costs not to fill it, simulated for a million contacts and measured for 60,000."""

from dataclasses import replace

from bench.draining import Work, drain
from bench.measuring import Bench, Row
from bench.queue_simulation import Bouncer, course_of
from bouncer.batches.batches_in_flight import Places

__all__ = ["MILLION", "MODES", "MOST_REQUESTS", "queueing", "simulated_queue"]

MILLION = 100
"""Batches of a million contacts."""

MOST_REQUESTS = 12 + 1 / MILLION
"""Requests a batch: twelve, and one for all of them, since a new account's first batch is looked at early."""

MODES = {"one batch after another": Bouncer(parallel=1), "side by side": Bouncer(parallel=15)}
"""The documented way, 10,000 addresses in 6 minutes, and that of an account that is served otherwise."""

_SLOTS = 15
_AHEAD_MINUTES = 15.0
_FILLED, _AHEAD = Places(_SLOTS, 0), Places(_SLOTS, 60 * _AHEAD_MINUTES)
_MOST_RATIO = 1.02
_WORKS = {
    "one batch after another": Work(60, 1_000, _SLOTS, 2, 0.2, 0.6, parallel=1),
    "side by side": Work(60, 1_000, _SLOTS, 20, 0.5, 1.5, parallel=15),
}
_BATCHES_AHEAD = _AHEAD_MINUTES * 60 / Bouncer().seconds


def simulated_queue(bench: Bench) -> list[Row]:
    """Simulates a million contacts with QUEUE_AHEAD_MINUTES and with fifteen batches in flight, in both modes."""
    rows = []
    for mode, bouncer in MODES.items():
        filled, ahead = (course_of(MILLION, places, bouncer) for places in (_FILLED, _AHEAD))
        what = f"simulated: 1 million contacts, {mode}, {_AHEAD_MINUTES:g} minutes queued ahead"
        waits = f"{ahead.urgent_seconds / 60:.0f} min at most, {filled.urgent_seconds / 60:.0f} with all slots filled"
        bench.say(f"{what}: what is more urgent waits {waits}")
        rows += [
            Row(
                what,
                ahead.seconds / 3600,
                "h",
                floor=filled.seconds / 3600,
                floor_is="fifteen in flight",
                most_ratio=_MOST_RATIO,
            ),
            Row(f"{what}: requests a batch", ahead.requests, "requests", most=MOST_REQUESTS),
            Row(f"{what}: completion to the look that finds it, at most", ahead.late_seconds, "s", most=30),
            Row(
                f"{what}: a more urgent batch's wait for its turn, at most",
                ahead.urgent_seconds / 60,
                "min",
                most=_AHEAD_MINUTES + bouncer.seconds / 60,
            ),
        ]
    return rows


def queueing(bench: Bench) -> list[Row]:
    """Measures 60,000 contacts with QUEUE_AHEAD_MINUTES and with fifteen batches in flight, in both modes.

    A batch takes seconds here, so the time that may be queued ahead is as many batches long as 15 minutes are.
    """
    if bench.quick:
        return []
    rows = []
    for mode, work in _WORKS.items():
        minutes = _BATCHES_AHEAD * work.seconds / 60
        filled, ahead = (_seconds(bench, mode, work, queue_ahead) for queue_ahead in (0.0, minutes))
        rows.append(
            Row(
                f"60,000 contacts, {mode}, {_BATCHES_AHEAD:g} batches queued ahead: first upload to all stored",
                ahead,
                "s",
                floor=filled,
                floor_is="fifteen in flight",
                most_ratio=_MOST_RATIO,
            )
        )
    return rows


def _seconds(bench: Bench, mode: str, work: Work, queue_ahead_minutes: float) -> float:
    bench.say(f"60,000 contacts, {mode}, QUEUE_AHEAD_MINUTES={queue_ahead_minutes:g}")
    folder = bench.folder / f"queueing-{work.parallel}-{queue_ahead_minutes:g}"
    folder.mkdir()
    chosen = replace(work, queue_ahead_minutes=queue_ahead_minutes)
    return drain(chosen, f"sqlite:///{folder / 'contacts.sqlite'}", folder).from_first_upload
