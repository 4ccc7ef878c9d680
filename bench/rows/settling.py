"""Time to settle a batch of 10,000 verdicts: results, contacts, queue and batch, in one transaction."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, func, select, text, update

from bench.measuring import Bench, Row, median, stopwatch
from bouncer.api.answers import Verdict, VerdictList
from bouncer.batches import ownership
from bouncer.batches.load import load
from bouncer.batches.state import BatchWork
from bouncer.files.importing import import_contacts
from bouncer.queue import claiming
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Contact, QueuedContact
from bouncer.verdicts.freshness import FreshFor
from bouncer.verdicts.matching import await_verdicts, prepare
from sandbox.sample import write_sample
from sandbox.service.verdicts import digests_of, judge, render

__all__ = ["Verified", "settling", "verified_batches"]

_CONTACTS = 10_000
_QUEUE = "UPDATE of the queue"
_RETRY_AFTER = "2030-01-01T00:00:00Z"
_FIELDS = "batch_id, global_id, bouncer_status, bouncer_reason, domain_info, account_info, dns_info, provider, score, \
toxic, toxicity, retry_after_ts, did_you_mean"


_INSERT_RESULT = text(
    f"INSERT INTO Bouncer_Results ({_FIELDS}) VALUES (:{_FIELDS.replace(', ', ', :')})"  # noqa: S608  # constants
)


@dataclass(frozen=True)
class Verified:
    """A batch whose verdicts wait to be stored, and the same verdicts as the rows that they become."""

    batch: BatchWork
    verdicts: list[Verdict]
    rows: list[tuple[Any, ...]]


def settling(bench: Bench) -> list[Row]:
    """Measures it beside the floor, and beside the loop over rows that the plan sketches.

    The floor's rows stand in a file when its time begins, so ours are joined by then; a row of its own has all.
    """
    rounds = 2 if bench.quick else 9
    names = ("load", "load by file", "floor", "queue", "loop", "look", "join")
    ways: dict[str, list[float]] = {name: [] for name in names}
    with bench.server.database() as name:
        url = bench.server.url(name)
        engines = {"load": engine_for(url), "load by file": engine_for(f"{url}?local_infile=1")}
        upgrade(engines["load"])
        verified = iter(verified_batches(engines["load"], bench.folder / "settling.csv", 3 * rounds + 1))
        with bench.server.connect(name) as connection:
            for _ in range(rounds):
                for way, engine in engines.items():
                    ours = next(verified)
                    with stopwatch() as watch:
                        awaited = await_verdicts(engine, ours.batch.id)
                    ways["look"].append(watch.seconds)
                    with stopwatch() as watch:
                        prepared = prepare(ours.verdicts, awaited)
                    ways["join"].append(watch.seconds)
                    with stopwatch() as watch:
                        load(engine, ours.batch, prepared)
                    ways[way].append(watch.seconds)
                theirs = next(verified)
                ways["floor"].append(_floor(connection, theirs, bench.folder / "settling.tsv"))
                ways["queue"].append(_queue(connection, theirs))
        ways["loop"].append(_loop(engines["load"], next(verified)))
        for engine in engines.values():
            engine.dispose()
    seconds = {way: median(figures) for way, figures in ways.items()}
    # In a run the look is done while the verdicts are downloaded, and the join before the transaction.
    once_downloaded = seconds["join"] + seconds["load"]
    bench.costs["load"] = seconds["look"] + seconds["load"]
    floor = "LOAD DATA LOCAL INFILE + one UPDATE … JOIN"
    whole_floor = seconds["floor"] + seconds["queue"]
    what = "settle 10,000 results in one transaction"
    return [
        Row(what, seconds["load"], "s", floor=seconds["floor"], floor_is=floor, most_ratio=2.5),
        Row(
            f"{what}, local_infile=1",
            seconds["load by file"],
            "s",
            floor=seconds["floor"],
            floor_is=floor,
            most_ratio=1.5,
        ),
        Row(
            f"{what}, beside all that it does", seconds["load"], "s", floor=whole_floor, floor_is=f"{floor} + {_QUEUE}"
        ),
        Row(
            f"{what}, local_infile=1, beside all that it does",
            seconds["load by file"],
            "s",
            floor=whole_floor,
            floor_is=f"{floor} + {_QUEUE}",
            most_ratio=1.5,
        ),
        Row(f"{what}, with the join before", once_downloaded, "s", floor=seconds["floor"], floor_is=floor),
        Row("10,000 results stored, once downloaded", once_downloaded, "s"),
        Row("the look at who waits for 10,000 results, beside the download", seconds["look"], "s"),
        Row(
            "settle 10,000 results, beside the plan's loop",
            seconds["load"],
            "s",
            floor=seconds["loop"],
            floor_is="UPDATE contact + INSERT result, row by row",
            most_ratio=0.1,
        ),
    ]


def verified_batches(engine: Engine, file: Path, count: int) -> list[Verified]:
    """Makes batches of 10,000 contacts and the verdicts that Bouncer would give, ready to be loaded.

    Args:
        engine: An empty database.
        file: Where the sample is written.
        count: How many batches.
    """
    write_sample(file, count * _CONTACTS)
    import_contacts(engine, file)
    claimed: list[int] = []
    # One claim takes no more than memory bears.
    while len(claimed) < count:
        batches_more = count - len(claimed)
        claim = claiming.claim(engine, "default", batches=batches_more, batch_size=_CONTACTS, fresh_for=FreshFor())
        if not claim.batches:
            raise AssertionError(f"only {len(claimed)} of {count} batches can be claimed")
        claimed += [batch.id for batch in claim.batches]
    return [_verify(engine, batch) for batch in claimed]


def _verify(engine: Engine, id: int) -> Verified:  # noqa: A002  # the column's name
    ownership.take(engine, id, "bench")
    query = (
        select(QueuedContact.global_id, Contact.email)
        .join(Contact, Contact.global_id == QueuedContact.global_id)
        .where(QueuedContact.batch_id == id)
    )
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE Bouncer_Batches SET status = 'downloading', batch_id = :name WHERE id = :id"),
            {"name": f"bouncer-{id}", "id": id},
        )
        contacts = connection.execute(query).all()
    batch = ownership.take(engine, id, "bench")
    if batch is None:
        raise AssertionError("the batch is ours")
    addresses = [email.lower() for _, email in contacts]
    digests = digests_of(0, addresses)
    results = [
        render(0, address, int(digest), code, _RETRY_AFTER)
        for address, digest, code in zip(addresses, digests, judge(0, addresses, digests), strict=True)
    ]
    verdicts = VerdictList.validate_python(results)
    rows = [_row(id, row.global_id, verdict) for row, verdict in zip(contacts, verdicts, strict=True)]
    return Verified(batch, verdicts, rows)


def _row(batch: int, contact: int, verdict: Verdict) -> tuple[Any, ...]:
    details = (verdict.domain, verdict.account, verdict.dns)
    return (
        batch,
        contact,
        verdict.status,
        verdict.reason,
        *(None if detail is None else orjson.dumps(detail).decode() for detail in details),
        verdict.provider,
        verdict.score,
        verdict.toxic,
        verdict.toxicity,
        None if verdict.retry_after is None else f"{verdict.retry_after:%Y-%m-%d %H:%M:%S}",
        verdict.did_you_mean,
    )


def _floor(connection: Any, verified: Verified, file: Path) -> float:
    with file.open("w", encoding="utf-8") as out:
        out.writelines("\t".join(map(_cell, row)) + "\n" for row in verified.rows)
    with stopwatch() as watch, connection.cursor() as cursor:
        cursor.execute(
            "LOAD DATA LOCAL INFILE %s INTO TABLE Bouncer_Results CHARACTER SET utf8mb4 " + f"({_FIELDS})", (str(file),)
        )
        cursor.execute(
            "UPDATE Contacts_Global c JOIN Bouncer_Results r ON r.global_id = c.global_id AND r.batch_id = %s "
            "SET c.bouncer_status = r.bouncer_status, c.bouncer_reason = r.bouncer_reason, "
            "c.bouncer_score = r.score, c.bouncer_verified_ts = CURRENT_TIMESTAMP",
            (verified.batch.id,),
        )
        connection.commit()
    return watch.seconds


def _queue(connection: Any, verified: Verified) -> float:
    # What the floor leaves out: every contact of the queue becomes completed, in three indexes.
    with stopwatch() as watch, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE Bouncer_Queue SET status = 'completed', completed_ts = CURRENT_TIMESTAMP WHERE batch_id = %s",
            (verified.batch.id,),
        )
        connection.commit()
    return watch.seconds


def _cell(value: object) -> str:
    return r"\N" if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _loop(engine: Engine, verified: Verified) -> float:
    names = _FIELDS.replace(" ", "").split(",")
    with stopwatch() as watch, engine.begin() as connection:
        for row in verified.rows:
            result = dict(zip(names, row, strict=True))
            latest = {
                "bouncer_status": result["bouncer_status"],
                "bouncer_reason": result["bouncer_reason"],
                "bouncer_score": result["score"],
                "bouncer_verified_ts": func.current_timestamp(),
            }
            connection.execute(update(Contact).where(Contact.global_id == result["global_id"]).values(latest))
            connection.execute(_INSERT_RESULT, result)
    return watch.seconds
