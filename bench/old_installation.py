"""Tables of an installation that has verified lists for two years: nearly all is settled, and a little is live."""

from concurrent.futures import ThreadPoolExecutor

from bench.servers import Server
from bouncer.monitoring.figures import FIGURES

__all__ = ["CONTACTS_A_REQUEST", "OldInstallation", "fill_old_installation"]

CONTACTS_A_REQUEST = 5_000
"""Contacts of each request, which are one batch."""

_DAYS = 730
_FAST = "SET foreign_key_checks = 0, unique_checks = 0"
_MINUTES = 30 * 1440
_CONTACTS_OF_ALL_MINUTES = 10_000_000
_TABLES = (
    "Requests, Contacts_Global, Bouncer_Queue, Bouncer_Batches, Bouncer_Results, Bouncer_Health_Metrics, "
    "Bouncer_Calls, Bouncer_Rate_Limit, Bouncer_Second_Chances"
)

# Of the contact whose number is seq.
_REQUEST = f"(1 + (seq - 1) DIV {CONTACTS_A_REQUEST})"
_PERCENT = "(seq * 7919 % 100)"
_VERDICT = (
    f"CASE WHEN {_PERCENT} < 75 THEN 'deliverable' WHEN {_PERCENT} < 87 THEN 'undeliverable' "
    f"WHEN {_PERCENT} < 95 THEN 'risky' ELSE 'unknown' END"
)
_SCORE = f"IF({_PERCENT} < 87, 95, IF({_PERCENT} < 91, 40, 80))"
# One in two hundred has no address that can be mailed to, one in a thousand failed at Bouncer.
_IS_INVALID = "seq % 200 = 0"
_FAILED = CONTACTS_A_REQUEST // 200 + CONTACTS_A_REQUEST // 1_000


class OldInstallation:
    """Numbers of what is live in it; every other request was complete long ago.

    Args:
        contacts: How many contacts there are.

    Attributes:
        contacts: How many contacts there are.
        requests: How many requests there are, numbered from 1 on; request 1 is the oldest.
        waiting: Requests whose contacts wait in the queue.
        in_flight: The request whose batch Bouncer runs.
        failed: Requests whose batch failed.
        settled: How many requests are settled, the first ones; each has the number of its batch.
        without_results: How many of them have lost their detailed results to housekeeping; half of the contacts keep
            theirs.
    """

    def __init__(self, contacts: int) -> None:
        self.contacts = contacts
        self.requests = last = contacts // CONTACTS_A_REQUEST
        self.waiting = (last - 2, last - 1, last)
        self.in_flight = last - 3
        self.failed = (last - 6, last - 5, last - 4)
        self.settled = last - 7
        self.without_results = last // 2

    def age(self, request: str) -> str:
        """The moment at which a request was made and settled, as SQL: one after the other, evenly over the days."""
        seconds = f"({self.requests} - {request}) * {_DAYS * 86_400} DIV {self.requests}"
        return f"CURRENT_TIMESTAMP - INTERVAL {seconds} SECOND"

    def if_settled(self, value: str) -> str:
        """A value, or NULL for a contact without a verdict, as SQL."""
        return f"IF({self.has_verdict}, {value}, NULL)"

    @property
    def has_verdict(self) -> str:
        """The condition for a contact with a verdict, as SQL."""
        return f"({_REQUEST} <= {self.settled} AND NOT ({_IS_INVALID} OR seq % 1000 = 1))"


def fill_old_installation(server: Server, name: str, old: OldInstallation) -> None:
    """Fills an empty database on the server itself.

    Args:
        server: Where it is.
        name: A database with empty tables.
        old: What is to be in it.
    """
    server.execute(*_requests(server, old), database=name)
    contacts = server.numbers(old.contacts)
    tables = (_contacts(contacts, old), *_queue(contacts, old), _results(contacts, old), *_kept(server, old))
    with ThreadPoolExecutor(2) as pool:
        for filled in [pool.submit(server.execute, _FAST, statement, database=name) for statement in tables]:
            filled.result()
    server.execute(f"ANALYZE TABLE {_TABLES}", database=name)


def _insert(table: str, source: str, **columns: object) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(map(str, columns.values()))} FROM {source}"  # noqa: S608  # constants


def _requests(server: Server, old: OldInstallation) -> list[str]:
    age, has_failed = old.age("seq"), f"seq IN {old.failed}"
    if_ended = f"IF(seq <= {old.settled} OR {has_failed}, {age}, NULL)"
    if_settled = f"IF(seq <= {old.settled}, 4700, NULL)"
    return [
        _insert("Users", server.numbers(10), id="seq", email="CONCAT('user', seq, '@example.com')"),
        _insert(
            "Requests",
            server.numbers(old.requests),
            request_id="seq",
            user_id="1 + seq % 10",
            name="CONCAT('list ', seq)",
            created_ts=age,
            bouncer_queued=f"IF(seq IN {old.waiting}, {CONTACTS_A_REQUEST}, 0)",
            bouncer_in_flight=f"IF(seq = {old.in_flight}, {CONTACTS_A_REQUEST}, 0)",
            bouncer_done=f"IF(seq <= {old.settled}, {CONTACTS_A_REQUEST - _FAILED}, 0)",
            bouncer_failed=f"IF(seq <= {old.settled}, {_FAILED}, IF({has_failed}, {CONTACTS_A_REQUEST}, 0))",
            bouncer_counted_ts=age,
            bouncer_completed_ts=if_ended,
            bouncer_announced_ts=if_ended,
        ),
        _insert(
            "Bouncer_Batches",
            server.numbers(old.in_flight),
            id="seq",
            batch_id="CONCAT('b-', seq)",
            user_id="1 + seq % 10",
            request_id="seq",
            status=f"IF(seq = {old.in_flight}, 'processing', IF({has_failed}, 'failed', 'completed'))",
            quantity=CONTACTS_A_REQUEST,
            processed=f"IF(seq = {old.in_flight}, 1000, {CONTACTS_A_REQUEST})",
            **dict.fromkeys(("created_ts", "updated_ts", "uploaded_ts", "running_ts", "progress_ts"), age),
            **dict.fromkeys(("verified_ts", "completed_ts"), if_ended),
            **dict.fromkeys(("credits", "expected_credits"), if_settled),
        ),
        _insert(
            "Bouncer_Dead_Letter_Queue",
            "Bouncer_Batches WHERE status = 'failed'",
            batch_id="id",
            user_id="user_id",
            request_id="request_id",
            error_message="'refused'",
        ),
        _insert("Bouncer_Accounts", server.numbers(1), account="'default'", credits="100000"),
    ]


def _contacts(contacts: str, old: OldInstallation) -> str:
    return _insert(
        "Contacts_Global",
        contacts,
        global_id="seq",
        email="CONCAT('person', seq, '@company', seq * 7919 % 5000, '.com')",
        bouncer_address_key="LEFT(UNHEX(SHA2(seq, 256)), 16)",
        bouncer_status=old.if_settled(_VERDICT),
        bouncer_reason=old.if_settled("'accepted_email'"),
        bouncer_score=old.if_settled(_SCORE),
        bouncer_verified_ts=old.if_settled(old.age(_REQUEST)),
        bouncer_batch_id=old.if_settled(_REQUEST),
    )


def _queue(contacts: str, old: OldInstallation) -> tuple[str, str]:
    age = old.age(_REQUEST)
    was_sent = f"{_REQUEST} <= {old.in_flight} AND ({_REQUEST} > {old.settled} OR NOT {_IS_INVALID})"
    return (
        _insert(
            "Bouncer_Queue",
            contacts,
            queue_id="seq",
            global_id="seq",
            user_id=f"1 + {_REQUEST} % 10",
            request_id=_REQUEST,
            batch_id=f"IF({was_sent}, {_REQUEST}, NULL)",
            status=(
                f"CASE WHEN {_REQUEST} > {old.in_flight} THEN 'queued' WHEN {_REQUEST} = {old.in_flight} "
                f"THEN 'assigned' WHEN {old.has_verdict} THEN 'completed' ELSE 'failed' END"
            ),
            priority="50",
            created_ts=age,
            assigned_ts=f"IF({_REQUEST} <= {old.in_flight}, {age}, NULL)",
            completed_ts=f"IF({_REQUEST} < {old.in_flight}, {age}, NULL)",
            attempts=f"IF({was_sent}, 1, 0)",
        ),
        # Contacts without a clear verdict have used their chances up, but for those of the last request.
        _insert(
            "Bouncer_Second_Chances",
            f"{contacts} WHERE {old.has_verdict} AND {_VERDICT} = 'unknown'",
            queue_id="seq",
            chances="2",
            try_again_ts=f"IF({_REQUEST} = {old.settled}, CURRENT_TIMESTAMP + INTERVAL 1 DAY, NULL)",
        ),
    )


def _results(contacts: str, old: OldInstallation) -> str:
    accepts_all = f"IF({_PERCENT} >= 93, 'yes', 'no')"
    return _insert(
        "Bouncer_Results",
        f"{contacts} WHERE {_REQUEST} > {old.without_results} AND {old.has_verdict}",
        batch_id=_REQUEST,
        global_id="seq",
        bouncer_status=_VERDICT,
        bouncer_reason="'accepted_email'",
        domain_info=f"JSON_OBJECT('name', 'example.com', 'acceptAll', {accepts_all}, 'disposable', 'no', 'free', 'no')",
        account_info="JSON_OBJECT('role', 'no', 'disabled', 'no', 'fullMailbox', 'no')",
        dns_info="JSON_OBJECT('type', 'MX', 'record', 'aspmx.l.google.com.')",
        provider="'google.com'",
        score=_SCORE,
        toxic="'no'",
        toxicity="0",
        processed_ts=old.age(_REQUEST),
    )


def _kept(server: Server, old: OldInstallation) -> tuple[str, ...]:
    # Thirty days of figures and calls by the minute where there are ten million contacts; in proportion elsewhere.
    minutes = min(_MINUTES, _MINUTES * old.contacts // _CONTACTS_OF_ALL_MINUTES)
    names = ", ".join(f"'{name}'" for name in FIGURES)
    return (
        _insert(
            "Bouncer_Health_Metrics",
            server.numbers(minutes * len(FIGURES)),
            id="seq",
            metric_name=f"ELT(1 + (seq - 1) % {len(FIGURES)}, {names})",
            metric_value="seq % 100",
            recorded_ts=f"CURRENT_TIMESTAMP - INTERVAL ({minutes} - (seq - 1) DIV {len(FIGURES)}) MINUTE",
        ),
        _insert(
            "Bouncer_Calls",
            server.numbers(minutes * 20),
            window_start_ts=f"CURRENT_TIMESTAMP - INTERVAL ({minutes} - seq DIV 20) MINUTE",
            account="'default'",
            **{"`call`": "ELT(1 + seq % 4, 'create', 'status', 'download', 'credits')"},
            outcome="'answered'",
            up_to_ms="ELT(1 + seq DIV 4 % 5, 10, 20, 50, 100, 200)",
            count="10",
            slowest_ms="90",
        ),
        _insert(
            "Bouncer_Rate_Limit",
            server.numbers(10_080),
            account="'default'",
            request_count="20",
            window_start_ts="CURRENT_TIMESTAMP - INTERVAL 10080 - seq MINUTE",
            window_end_ts="CURRENT_TIMESTAMP - INTERVAL 10080 - seq MINUTE + INTERVAL 1 MINUTE",
        ),
    )
