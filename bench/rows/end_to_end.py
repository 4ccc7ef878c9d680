"""Whole runs of ``ingest``, beside the best that could be."""

from pathlib import Path

from bench.draining import Drained, Work, drain
from bench.measuring import Bench, Row

__all__ = ["end_to_end", "short_batches"]


def end_to_end(bench: Bench) -> list[Row]:
    """Measures the whole way from the queue to the last verdict."""
    # Bouncer takes an hour for fifteen batches of 10,000; the shorter a batch here, the more every second counts.
    if bench.quick:
        little = Work(8, 1_000, 4, 6, 2, 6)
        # Of so short a run most is the beginning, which the targets are not about.
        return [row.unjudged() for row in _rows("SQLite", little, _on_sqlite(bench, little))]
    work = Work(60, 10_000, 15, 60, 10, 30)
    run = _on_mariadb(bench, work)
    bench.costs["ingest"] = run.usage.cpu_seconds / work.batches
    bench.costs["server"] = run.server.cpu_seconds / work.batches
    return _rows("MariaDB", work, run)


def short_batches(bench: Bench) -> list[Row]:
    """Measures runs whose batches take seconds, so that all the time is that of this program."""
    if bench.quick:
        return []
    small = _on_mariadb(bench, Work(6, 10_000, 15, 10, 5, 5))
    large = _on_mariadb(bench, Work(15, 10_000, 15, 30, 5, 5))
    memory = "peak memory"
    return [
        Row("60,000 contacts: first upload to all stored", small.from_first_upload, "s"),
        Row("60,000 contacts: last batch done to all stored", small.after_last_completion, "s"),
        Row("60,000 contacts: completion to download, median", small.to_download, "s"),
        Row("60,000 contacts: requests", small.requests, "requests"),
        Row(f"60,000 contacts: {memory} of ingest", small.usage.peak_mb, "MB", most=300),
        Row(f"60,000 contacts: {memory} of the Prefect server", small.server.peak_mb, "MB"),
        Row("150,000 contacts: first upload to all stored", large.from_first_upload, "s"),
        Row(f"150,000 contacts: {memory} of ingest", large.usage.peak_mb, "MB", most=300),
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
    with bench.server.database() as name:
        return drain(work, bench.server.url(name), _folder(bench, "mariadb"))


def _on_sqlite(bench: Bench, work: Work) -> Drained:
    bench.say(f"{work.batches} batches of {work.batch_size:,}, {work.seconds:g} s each, on SQLite")
    folder = _folder(bench, "sqlite")
    return drain(work, f"sqlite:///{folder / 'contacts.sqlite'}", folder)


def _folder(bench: Bench, kind: str) -> Path:
    # A home of its own for each run: a Prefect server that has seen nothing yet.
    folder = bench.folder / f"{kind}-{len(list(bench.folder.glob(f'{kind}-*')))}"
    folder.mkdir()
    return folder
