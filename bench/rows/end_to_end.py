"""Whole runs of ``ingest``, beside the best that could be and beside another implementation of the same plan."""

from collections.abc import Callable
from pathlib import Path

from bench.measuring import Bench, Row
from bench.rows.draining import Drained, Work, drain
from bench.rows.settling import BULLMQ

__all__ = ["beside_bullmq", "end_to_end"]


def end_to_end(bench: Bench) -> list[Row]:
    """Measures the whole way from the queue to the last verdict."""
    # Bouncer takes an hour for fifteen batches of 10,000; the shorter a batch here, the more every second counts.
    if bench.quick:
        little = Work(8, 1_000, 4, 6, 2, 6)
        return _rows("SQLite", little, _on_sqlite(bench, little))
    work = Work(60, 10_000, 15, 60, 10, 30)
    run = _on_mariadb(bench, work)
    bench.costs["ingest"] = run.usage.cpu_seconds / work.batches
    bench.costs["server"] = run.server.cpu_seconds / work.batches
    return _rows("MariaDB", work, run)


def beside_bullmq(bench: Bench) -> list[Row]:
    """Measures the runs that another implementation of the plan was measured with."""
    if bench.quick:
        return []
    small = _on_mariadb(bench, Work(6, 10_000, 15, 10, 5, 5))
    large = _on_mariadb(bench, Work(15, 10_000, 15, 30, 5, 5))
    compared: list[tuple[str, Callable[[Drained], float], str, float]] = [
        ("first upload to all stored", lambda run: run.from_first_upload, "s", 16.9),
        ("last batch done to all stored", lambda run: run.after_last_completion, "s", 3.7),
        ("completion to download, median", lambda run: run.to_download, "s", 2.4),
        ("requests", lambda run: run.requests, "requests", 25),
    ]
    memory = "peak memory"
    return [
        *(
            Row(f"60,000 contacts: {what}", figure(small), unit, floor=there, floor_is=BULLMQ, most_ratio=1)
            for what, figure, unit, there in compared
        ),
        Row(f"60,000 contacts: {memory} of ingest", small.usage.peak_mb, "MB", floor=181, floor_is=BULLMQ, most=300),
        Row(f"60,000 contacts: {memory} of the Prefect server", small.server.peak_mb, "MB"),
        Row(
            "150,000 contacts: first upload to all stored",
            large.from_first_upload,
            "s",
            floor=70.9,
            floor_is=f"{BULLMQ}; it runs 10 batches at once",
            most_ratio=1,
        ),
        Row(f"150,000 contacts: {memory} of ingest", large.usage.peak_mb, "MB", floor=253, floor_is=BULLMQ, most=300),
    ]


def _rows(kind: str, work: Work, run: Drained) -> list[Row]:
    what = f"{work.batches} batches of {work.batch_size:,} on {work.slots} slots, {kind}"
    # An upload, a look and a download are the least.
    least = 3.0
    cpu_seconds = run.usage.cpu_seconds + run.server.cpu_seconds
    tens_of_thousands = work.contacts / 10_000
    return [
        Row(
            f"{what}: start to last verdict",
            run.whole,
            "s",
            floor=work.best_schedule,
            floor_is=f"the best possible schedule, {work.seconds:g} s a batch",
            most_ratio=1.1,
        ),
        Row(
            f"{what}: requests a batch",
            run.requests / work.batches,
            "requests",
            floor=least,
            floor_is="upload, status, download",
            most=5,
        ),
        Row(f"{what}: completion to download, at most", run.to_download_most, "s", most=work.poll_min),
        Row(f"{what}: processor time per 10,000 contacts", run.usage.cpu_seconds / tens_of_thousands, "s", most=4),
        Row(f"{what}: the same, with the Prefect server's", cpu_seconds / tens_of_thousands, "s", most=4),
        Row(f"{what}: peak memory of ingest", run.usage.peak_mb, "MB", most=600),
        Row(f"{what}: the same, with the Prefect server's", run.usage.peak_mb + run.server.peak_mb, "MB", most=600),
    ]


def _on_mariadb(bench: Bench, work: Work) -> Drained:
    bench.say(f"{work.batches} batches of {work.batch_size:,}, {work.seconds:g} s each, on MariaDB")
    with bench.mariadb.database() as name:
        return drain(work, bench.mariadb.url(name), _folder(bench, "mariadb"))


def _on_sqlite(bench: Bench, work: Work) -> Drained:
    bench.say(f"{work.batches} batches of {work.batch_size:,}, {work.seconds:g} s each, on SQLite")
    folder = _folder(bench, "sqlite")
    return drain(work, f"sqlite:///{folder / 'contacts.sqlite'}", folder)


def _folder(bench: Bench, kind: str) -> Path:
    # A home of its own for each run: a Prefect server that has seen nothing yet.
    folder = bench.folder / f"{kind}-{len(list(bench.folder.glob(f'{kind}-*')))}"
    folder.mkdir()
    return folder
