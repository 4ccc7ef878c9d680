"""Speed and memory of contacts coming in from a file and of verdicts going out to one."""

import subprocess
from pathlib import Path

from bench.measuring import Bench, Row, stopwatch
from bench.processes import Usage, usage_of
from bench.servers import Server
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from sandbox.sample import write_sample

__all__ = ["exporting", "importing"]

_MOST_MB = 300.0
_REQUEST = (
    "INSERT INTO Users (id, email) VALUES (1, 'bench@example.com')",
    "INSERT INTO Requests (request_id, user_id, name) VALUES (1, 1, 'bench')",
)
_SAME_QUERY = """
SELECT c.email, r.bouncer_status, r.bouncer_reason, r.score, r.provider, r.domain_info, r.account_info, r.toxic,
       r.toxicity, r.did_you_mean, r.processed_ts, q.status, q.error_message, q.request_id
FROM Bouncer_Queue q
JOIN Contacts_Global c ON c.global_id = q.global_id
LEFT JOIN Bouncer_Results r ON r.batch_id = q.batch_id AND r.global_id = q.global_id
ORDER BY q.queue_id
"""


def importing(bench: Bench) -> list[Row]:
    """Measures the import of a CSV file."""
    contacts = min(bench.most, 1_000_000)
    file = bench.folder / "contacts.csv"
    bench.say(f"writing a file of {contacts:,} contacts")
    write_sample(file, contacts)
    with bench.server.database() as name:
        _migrate(bench.server.url(name))
        bench.say("loading it with LOAD DATA")
        floor = _load_data(bench, name, file)
    with bench.server.database() as name:
        _migrate(bench.server.url(name))
        bench.say("importing it")
        ours = _timed(bench, name, ["import", str(file), "--json"])
    return _rows(
        bench, f"import {contacts:,} contacts", ours, floor, "LOAD DATA LOCAL INFILE of the file into both tables"
    )


def exporting(bench: Bench) -> list[Row]:
    """Measures the export of all verdicts."""
    results = min(bench.most, 1_000_000)
    with bench.server.database() as name:
        _migrate(bench.server.url(name))
        bench.say(f"filling in {results:,} results")
        bench.server.execute(*_verified(bench.server, results), database=name)
        bench.say("dumping them with the client, then exporting them")
        # Once before, so that neither finds the server's memory warmer than the other.
        _dump(bench, name)
        floor = _dump(bench, name)
        ours = _timed(bench, name, ["export", str(bench.folder / "results.csv")])
    return _rows(bench, f"export {results:,} results", ours, floor, "mariadb --quick with the same query")


def _rows(bench: Bench, what: str, ours: Usage, floor: float, floor_is: str) -> list[Row]:
    # Of a short run most is the start of the program.
    most_ratio = None if bench.quick else 3
    return [
        Row(what, ours.seconds, "s", floor=floor, floor_is=floor_is, most_ratio=most_ratio),
        Row(f"{what}: peak memory", ours.peak_mb, "MB", most=_MOST_MB),
    ]


def _migrate(url: str) -> None:
    engine = engine_for(url)
    upgrade(engine)
    engine.dispose()


def _timed(bench: Bench, name: str, arguments: list[str]) -> Usage:
    environment = {"DATABASE_URL": bench.server.url(name), "BOUNCER_FLOWS_HOME": str(bench.folder / "home")}
    return usage_of(arguments, environment, bench.folder / "command.log")


def _load_data(bench: Bench, name: str, file: Path) -> float:
    bench.server.execute(*_REQUEST, database=name)
    into = "LOAD DATA LOCAL INFILE %s INTO TABLE {} CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' \
LINES TERMINATED BY '\\r\\n' IGNORE 1 LINES "
    with bench.server.connect(name) as connection, connection.cursor() as cursor, stopwatch() as watch:
        cursor.execute(into.format("Contacts_Global") + "(global_id, @first, @last, email, @company)", (str(file),))
        cursor.execute(
            into.format("Bouncer_Queue")
            + "(global_id, @first, @last, @email, @company) SET user_id = 1, request_id = 1, priority = 50",
            (str(file),),
        )
        connection.commit()
    return watch.seconds


def _verified(server: Server, results: int) -> list[str]:
    source = f"FROM {server.numbers(results)}"
    batch = "1 + (seq - 1) DIV 10000"
    domain = "CONCAT('company', seq * 7919 % 5000, '.com')"
    return [
        *_REQUEST,
        (
            "INSERT INTO Bouncer_Batches (id, batch_id, user_id, request_id, status, quantity)"  # noqa: S608  # numbers
            f" SELECT seq, seq, 1, 1, 'completed', 10000 FROM {server.numbers(1 + results // 10_000)}"
        ),
        (
            "INSERT INTO Contacts_Global (global_id, email, bouncer_status, bouncer_reason, bouncer_score,"
            f" bouncer_verified_ts) SELECT seq, CONCAT('person', seq, '@', {domain}), 'deliverable', 'accepted_email',"
            f" 95, CURRENT_TIMESTAMP {source}"
        ),
        (
            "INSERT INTO Bouncer_Queue (queue_id, global_id, user_id, request_id, batch_id, status)"
            f" SELECT seq, seq, 1, 1, {batch}, 'completed' {source}"
        ),
        (
            "INSERT INTO Bouncer_Results (batch_id, global_id, bouncer_status, bouncer_reason, domain_info,"
            " account_info, dns_info, provider, score, toxic, toxicity)"
            f" SELECT {batch}, seq, 'deliverable', 'accepted_email',"
            f' CONCAT(\'{{"name":"\', {domain}, \'","acceptAll":"no","disposable":"no","free":"no"}}\'),'
            ' \'{"role":"no","disabled":"no","fullMailbox":"no"}\', \'{"type":"MX","record":"aspmx.l.google.com."}\','
            f" 'google.com', 95, 'no', 0 {source}"
        ),
        "ANALYZE TABLE Contacts_Global, Bouncer_Queue, Bouncer_Results",
    ]


def _dump(bench: Bench, name: str) -> float:
    command = ["mariadb", *bench.server.client_options(bench.folder), "--quick", "--batch", "-e", _SAME_QUERY, name]
    with (bench.folder / "dump.tsv").open("wb") as out, stopwatch() as watch:
        subprocess.run(command, stdout=out, check=True)  # noqa: S603  # our constants
    return watch.seconds
