"""A run of ``ingest`` beside the plan's own design with BullMQ: the same work, sandbox and database server."""

from collections.abc import Callable
from pathlib import Path

from bench.draining import Drained, Work, drain, environment_of, queue_contacts, watch
from bench.measuring import Bench, Row
from bench.peer.process import running_peer
from bench.peer.programs import Missing, Programs, programs_of_peer
from bench.servers import running_sandbox

__all__ = ["beside_bullmq"]

_LITTLE = Work(8, 1_000, 4, 6, 2, 6)
# Half a minute a batch: with less, fifteen slots would take more requests than Bouncer allows.
_MUCH = Work(30, 10_000, 15, 30, 10, 30)
_PEER_IS = "the plan's queues with BullMQ, Redis and Node"


def beside_bullmq(bench: Bench) -> list[Row]:
    """Measures both, one after the other; without rows where a program of the peer cannot be had."""
    try:
        programs = programs_of_peer()
    except Missing as missing:
        bench.say(f"the rows beside BullMQ are left out: {missing}")
        return []
    work = _LITTLE if bench.quick else _MUCH
    what = f"{work.batches} batches of {work.batch_size:,} on {work.slots} slots"
    bench.say(f"{what}, {work.seconds:g} s each, with bouncer-flows and with BullMQ")
    folder = bench.folder / "peer"
    with bench.server.database() as name:
        ours = drain(work, bench.server.url(name), _made(folder / "ours"))
    with bench.server.database() as name:
        peer = _drain_with_bullmq(programs, work, bench.server.url(name), _made(folder / "bullmq"))
    rows = _rows(what, work, ours, peer)
    # Of so short a run most is the beginning.
    return [row.unjudged() for row in rows] if bench.quick else rows


def _drain_with_bullmq(programs: Programs, work: Work, url: str, folder: Path) -> Drained:
    engine = queue_contacts(work, url, folder)
    try:
        with running_sandbox(work.seconds, work.parallel) as sandbox:
            variables = environment_of(work, url, folder, sandbox)
            with running_peer(programs, variables, folder) as (command, redis):
                return watch(command, redis, engine, sandbox)
    finally:
        engine.dispose()


def _rows(what: str, work: Work, ours: Drained, peer: Drained) -> list[Row]:
    tens_of_thousands = work.contacts / 10_000

    def row(name: str, unit: str, of: Callable[[Drained], float], most_ratio: float | None = None) -> Row:
        whole = f"{what}, beside BullMQ: {name}"
        return Row(whole, of(ours), unit, floor=of(peer), floor_is=_PEER_IS, most_ratio=most_ratio)

    return [
        row("start to last verdict", "s", lambda run: run.whole, 1.1),
        row("first upload to last verdict", "s", lambda run: run.from_first_upload, 1.1),
        row("requests a batch", "requests", lambda run: run.requests / work.batches),
        row(
            "processor time per 10,000 contacts, with the Prefect server's or Redis's",
            "s",
            lambda run: (run.usage.cpu_seconds + run.server.cpu_seconds) / tens_of_thousands,
        ),
        row(
            "peak memory, with the Prefect server's or Redis's",
            "MB",
            lambda run: run.usage.peak_mb + run.server.peak_mb,
        ),
    ]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
