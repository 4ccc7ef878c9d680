"""What the cluster did, seen from outside: by the contacts database, by the sandbox and by Prefect's limits."""

import time
from dataclasses import dataclass, field

from sqlalchemy import Engine, text

from tests.cluster.topology import Prefect
from tests.sandbox_process import SandboxHandle

__all__ = ["Figures", "Moment", "Watch"]

_STATUSES = "SELECT status, COUNT(*) FROM Bouncer_Queue GROUP BY status"
_WITHOUT_REASON = "SELECT COUNT(*) FROM Bouncer_Queue WHERE status = 'failed' AND COALESCE(error_message, '') = ''"
_WITH_RESULT = """
    SELECT COUNT(*) FROM Bouncer_Queue q JOIN Bouncer_Results r ON r.batch_id = q.batch_id AND r.global_id = q.global_id
    WHERE q.status = 'completed'
"""
_DECLARED_TWICE = "SELECT COALESCE(SUM(ambiguous_uploads * quantity), 0) FROM Bouncer_Batches"
# Each run that takes a batch is counted there, so these were taken over from a run that died.
_TAKEN_OVER = "SELECT COUNT(*) FROM Bouncer_Batches WHERE retry_count >= 2"
_LIMIT = "bouncer-batches"


@dataclass(frozen=True)
class Moment:
    """What was seen at one moment.

    Attributes:
        seconds: Since the workers were started.
        settled: Contacts with a verdict, or failed with a reason.
        slots: Slots of ``bouncer-batches`` that Prefect says are held; None while no server answered.
        in_flight: Batches that the sandbox works on.
        event: What was done to the cluster then, or nothing.
    """

    seconds: float
    settled: int
    slots: int | None
    in_flight: int
    event: str = ""


@dataclass(frozen=True)
class Figures:
    """What the whole run came to.

    Attributes:
        contacts: How many were queued.
        completed: With a verdict.
        failed: Failed with a reason.
        lost: Neither, or a verdict without a result, or a failure without a reason.
        seconds: From the workers' start to the last verdict.
        batches: Batches at the sandbox.
        taken_over: Batches that more than one run worked on.
        requests: Requests of all kinds at the sandbox.
        declared_twice: Addresses in uploads whose answer was lost.
        paid_twice: Addresses charged twice beyond those.
        most_slots: The most slots of the limit that were held at once.
        most_in_flight: The most batches at the sandbox at once.
        most_requests: The most requests in any 60 s at the sandbox.
        most_uploads: The most uploads in any 60 s.
    """

    contacts: int
    completed: int
    failed: int
    lost: int
    seconds: float
    batches: int
    taken_over: int
    requests: int
    declared_twice: int
    paid_twice: int
    most_slots: int
    most_in_flight: int
    most_requests: int
    most_uploads: int

    @property
    def contacts_a_minute(self) -> float:
        """How fast it was."""
        return 60 * self.completed / self.seconds

    @property
    def requests_a_batch(self) -> float:
        """How many requests each batch took."""
        return self.requests / self.batches if self.batches else 0.0


@dataclass
class Watch:
    """Looks at the cluster from the workers' start on.

    Attributes:
        engine: The contacts database.
        sandbox: What stands in for Bouncer.
        prefect: The Prefect servers.
        contacts: How many were queued.
        moments: What was seen.
    """

    engine: Engine
    sandbox: SandboxHandle
    prefect: Prefect
    contacts: int
    moments: list[Moment] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def look(self, event: str = "") -> Moment:
        """Looks once, and remembers it."""
        statuses = self._statuses()
        moment = Moment(
            seconds=time.monotonic() - self._began,
            settled=statuses.get("completed", 0) + statuses.get("failed", 0),
            slots=self.prefect.slots_in_use(_LIMIT),
            in_flight=self.sandbox.ledger()["in_flight_now"],
            event=event,
        )
        self.moments.append(moment)
        return moment

    def figures(self) -> Figures:
        """Adds everything up."""
        ledger, statuses = self.sandbox.ledger(), self._statuses()
        completed, failed = statuses.get("completed", 0), statuses.get("failed", 0)
        declared = self._scalar(_DECLARED_TWICE)
        odd = abs(completed - self._scalar(_WITH_RESULT)) + self._scalar(_WITHOUT_REASON)
        return Figures(
            contacts=self.contacts,
            completed=completed,
            failed=failed,
            lost=self.contacts - completed - failed + odd,
            seconds=self.moments[-1].seconds,
            batches=ledger["batches"],
            taken_over=self._scalar(_TAKEN_OVER),
            requests=ledger["requests"],
            declared_twice=declared,
            paid_twice=max(0, ledger["addresses_charged_twice"] - declared),
            most_slots=max((moment.slots or 0 for moment in self.moments), default=0),
            most_in_flight=ledger["most_in_flight"],
            most_requests=ledger["most_requests_in_60s"],
            most_uploads=ledger["most_uploads_in_60s"],
        )

    def _statuses(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(text(_STATUSES))}

    def _scalar(self, query: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.scalar(text(query)) or 0)
