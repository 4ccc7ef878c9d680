"""What must hold after every scenario, measured in the sandbox's ledger and in the database."""

from dataclasses import dataclass

from bouncer.addresses.normalisation import normalise
from sandbox.service.verdicts import digests_of, judge
from sandbox.service.verdicts import render as verdict_on
from tests.chaos.site import Site

__all__ = ["Expected", "Outcome", "measure"]

_OPEN = "SELECT COUNT(*) FROM Bouncer_Queue WHERE status IN ('queued', 'assigned')"
_COMPLETED = "SELECT COUNT(*) FROM Bouncer_Queue WHERE status = 'completed'"
_FAILED = "SELECT COUNT(*) FROM Bouncer_Queue WHERE status = 'failed' AND NOT cancelled"
_CANCELLED = "SELECT COUNT(*) FROM Bouncer_Queue WHERE status = 'failed' AND cancelled"
_WITHOUT_REASON = f"{_FAILED} AND COALESCE(error_message, '') = ''"
_WITH_RESULT = """
    SELECT COUNT(*) FROM Bouncer_Queue q JOIN Bouncer_Results r ON r.batch_id = q.batch_id AND r.global_id = q.global_id
    JOIN Contacts_Global c ON c.global_id = q.global_id AND c.bouncer_status = r.bouncer_status
    WHERE q.status = 'completed'
"""
_HELD_CONTACTS = """
    SELECT COUNT(*) FROM Bouncer_Queue q JOIN Bouncer_Batches b ON b.id = q.batch_id
    WHERE q.status = 'assigned' AND b.status = 'queued' AND b.held_ts IS NOT NULL
"""
_HALF_LOADED = """
    SELECT COUNT(*) FROM Bouncer_Results r JOIN Bouncer_Batches b ON b.id = r.batch_id WHERE b.status <> 'completed'
"""
_UNSETTLED_BATCHES = """
    SELECT COUNT(*) FROM Bouncer_Batches
    WHERE status IN ('queued', 'processing', 'downloading') AND held_ts IS NULL
"""
_OWNED = "SELECT COUNT(*) FROM Bouncer_Batches WHERE owner IS NOT NULL"
_LOST_UPLOADS = "SELECT COALESCE(SUM(ambiguous_uploads), 0) FROM Bouncer_Batches"
_MAYBE_TWICE = (
    "SELECT COALESCE(SUM(ambiguous_uploads * quantity + ambiguous_addresses + lost_addresses), 0) FROM Bouncer_Batches"
)
_VERDICTS = """
    SELECT c.email, r.bouncer_reason FROM Bouncer_Results r JOIN Contacts_Global c ON c.global_id = r.global_id
"""
_UPLOADS_PER_MINUTE = 60


@dataclass(frozen=True)
class Expected:
    """What a scenario should end with, beyond what must hold after every one.

    Attributes:
        failed: Contacts that fail with a reason; None where that hangs on the seed.
        lost_uploads: Uploads whose answer was lost, exactly; None where that hangs on the moment.
        held: Whether contacts may wait in held batches for a person.
        true_verdicts: Whether the sandbox's verdicts are all of its documented kinds.
        paid_once: Whether nothing at all may be paid twice, declared or not.
        at_ceiling: Whether more was to be asked than may be in a minute, so that the limit had something to hold.
    """

    failed: int | None = 0
    lost_uploads: int | None = 0
    held: bool = False
    true_verdicts: bool = True
    paid_once: bool = False
    at_ceiling: bool = False


@dataclass(frozen=True)
class Outcome:
    """What one scenario ended with.

    Attributes:
        scenario: Its name.
        seed: Its seed.
        queued: Contacts that were queued.
        settled: Contacts with a verdict, failed with a reason, or cancelled.
        held: Contacts in held batches, which wait for a person.
        lost: Contacts that are neither.
        declared_twice: Addresses that the database says may have been paid twice.
        paid_twice: Addresses that were paid twice beyond those.
        most_in_flight: Batches at the sandbox at one time.
        slots: How many may be.
        most_requests: Requests at the sandbox in any 60 s.
        ceiling: How many may be.
        seconds: How long it took.
        problems: What does not hold, in words.
    """

    scenario: str
    seed: int
    queued: int = 0
    settled: int = 0
    held: int = 0
    lost: int = 0
    declared_twice: int = 0
    paid_twice: int = 0
    most_in_flight: int = 0
    slots: int = 0
    most_requests: int = 0
    ceiling: int = 0
    seconds: float = 0.0
    problems: tuple[str, ...] = ()


def measure(site: Site, scenario: str, seed: int, expected: Expected, seconds: float) -> Outcome:
    """Measures what must hold.

    Args:
        site: After the scenario's last run.
        scenario: Its name.
        seed: Its seed.
        expected: What is special about it.
        seconds: How long it took.
    """
    ledger = site.sandbox.ledger()
    completed, failed, held = (int(site.scalar(query)) for query in (_COMPLETED, _FAILED, _HELD_CONTACTS))
    settled = completed + failed + int(site.scalar(_CANCELLED))
    declared, lost_uploads = int(site.scalar(_MAYBE_TWICE)), int(site.scalar(_LOST_UPLOADS))
    account = site.account
    outcome = Outcome(
        scenario=scenario,
        seed=seed,
        queued=site.imported,
        settled=settled,
        held=held,
        lost=site.imported - settled - held,
        declared_twice=declared,
        paid_twice=max(0, ledger["addresses_charged_twice"] - declared),
        most_in_flight=ledger["most_in_flight"],
        slots=account.slots,
        most_requests=ledger["most_requests_in_60s"],
        ceiling=account.requests_per_minute,
        seconds=seconds,
    )
    checks = {
        f"{outcome.lost} contacts lost or stuck": outcome.lost == 0,
        f"{int(site.scalar(_OPEN)) - held} contacts wait still": int(site.scalar(_OPEN)) == held,
        f"{held} contacts are held": expected.held or held == 0,
        f"{failed} contacts failed, not {expected.failed}": expected.failed in {None, failed},
        "contacts failed without a reason": site.scalar(_WITHOUT_REASON) == 0,
        "completed contacts without exactly one result": site.scalar(_WITH_RESULT) == completed,
        "results of batches that are not completed": site.scalar(_HALF_LOADED) == 0,
        "batches are neither settled nor held": site.scalar(_UNSETTLED_BATCHES) == 0,
        "batches are still owned": site.scalar(_OWNED) == 0,
        f"{_wrong_verdicts(site) if expected.true_verdicts else 0} verdicts are another address's": not (
            expected.true_verdicts and _wrong_verdicts(site)
        ),
        f"{lost_uploads} uploads counted lost, not {expected.lost_uploads}": expected.lost_uploads
        in {None, lost_uploads},
        f"{_orphans(site)} batches at the sandbox that nobody knows, {lost_uploads} declared": _orphans(site)
        <= lost_uploads,
        f"{outcome.paid_twice} addresses paid twice and not declared": outcome.paid_twice == 0,
        f"{ledger['addresses_charged_twice']} addresses paid twice": not (
            expected.paid_once and ledger["addresses_charged_twice"]
        ),
        f"{outcome.most_in_flight} batches in flight": outcome.most_in_flight <= account.slots,
        f"{outcome.most_requests} requests in 60 s": outcome.most_requests <= account.requests_per_minute,
        f"only {outcome.most_requests} requests in 60 s, so the ceiling had nothing to hold": (
            not expected.at_ceiling or 2 * outcome.most_requests > account.requests_per_minute
        ),
        f"{ledger['most_uploads_in_60s']} uploads in 60 s": ledger["most_uploads_in_60s"] <= _UPLOADS_PER_MINUTE,
        "slots of bouncer-batches are still held": site.prefect.held_slots("bouncer-batches") == 0,
        f"exit code {site.runs[-1].code} at the end": site.runs[-1].code == (2 if held else 1 if failed else 0),
        **_told(site),
    }
    return Outcome(**{**vars(outcome), "problems": tuple(what for what, holds in checks.items() if not holds)})


def _told(site: Site) -> dict[str, bool]:
    runs = (*site.runs, *site.asides)
    logs = [run.log for run in runs]
    return {
        "a traceback on standard error": not any("Traceback (most recent call last)" in log for log in logs),
        "the key in a log": not any(site.sandbox.key in log or site.key in log for log in logs),
        "an address in a log": not any("@" in log for log in logs),
        "a run could not go to its end and did not say why": not any(
            run.code == 2 and not run.answer and "bouncer-flows: " not in run.log for run in site.runs
        ),
    }


def _orphans(site: Site) -> int:
    known = {str(id_) for (id_,) in site.rows("SELECT batch_id FROM Bouncer_Batches WHERE batch_id IS NOT NULL")}
    return sum(batch["id"] not in known for batch in site.sandbox.batches())


def _wrong_verdicts(site: Site) -> int:
    rows = site.rows(_VERDICTS)
    addresses = [normalise(email).lower() for email, _ in rows]
    digests = digests_of(0, addresses)
    codes = judge(0, addresses, digests)
    return sum(
        verdict_on(0, address, int(digest), code, "")["reason"] != reason
        for address, digest, code, (_, reason) in zip(addresses, digests, codes, rows, strict=True)
    )
