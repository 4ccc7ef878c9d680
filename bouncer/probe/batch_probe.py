"""Two batches of free addresses, sent one after the other: what may be done with them at which moment."""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from bouncer.accounts.call_statistics import Call
from bouncer.errors import KeyRefused, OutOfCredits, UnexpectedAnswer
from bouncer.plurals import counted
from bouncer.probe.findings import Findings
from bouncer.probe.wire import Exchange, Wire

__all__ = ["ProbedBatch", "complete_both", "delete_completed", "disturb", "send_batch"]

_ID = re.compile(r"[0-9a-f]{24}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_STATUSES = {"queued", "processing", "completed"}
_TOO_SOON = "the batch was completed too soon to try it"


@dataclass
class ProbedBatch:
    """A batch of the probe.

    Attributes:
        addresses: What it was sent, each once.
        told: What its latest status said.
        statuses: All statuses that it had.
        was_finished: Whether a finish of it was granted.
    """

    id: str
    addresses: list[str]
    told: dict[str, Any] = field(default_factory=dict)
    statuses: list[str] = field(default_factory=list)
    was_finished: bool = False

    @property
    def path(self) -> str:
        """The path of the batch behind the base URL."""
        return f"email/verify/batch/{self.id}"

    @property
    def status(self) -> str:
        """The latest status."""
        return self.statuses[-1] if self.statuses else "queued"

    def moment(self, name: str) -> datetime | None:
        """One of its times, where it was told as documented."""
        told = str(self.told.get(name))
        return datetime.fromisoformat(told) if _TIME.fullmatch(told) else None


async def send_batch(
    wire: Wire, findings: Findings, addresses: list[str], *, callback: str | None = None
) -> ProbedBatch:
    """Uploads a batch with one address twice.

    Raises:
        OutOfCredits: The account has too few credits to hold.
        KeyRefused: The key is wrong.
        UnexpectedAnswer: It was not taken.
    """
    sent = [*addresses, addresses[0].upper()]
    wire.transcript.know(addresses)
    query = {} if callback is None else {"callback": callback}
    answer = await wire.send(
        Call.CREATE, "POST", "email/verify/batch", content=[{"email": address} for address in sent], **query
    )
    if answer.refused_with == 402:
        raise OutOfCredits(f"the probe needs {2 * len(addresses)} credits for two minutes; they come back: {answer}")
    if answer.refused_with in {401, 403}:
        raise KeyRefused(f"Bouncer does not take the key: {answer}")
    if not answer.is_granted or "batchId" not in answer.told:
        raise UnexpectedAnswer(f"Bouncer does not take a batch of its free addresses: {answer}")
    told = answer.told
    findings.check("batch-id", told["batchId"], holds=bool(_ID.fullmatch(str(told["batchId"]))))
    created = told.get("status") == "queued" and told.get("quantity") == len(sent)
    findings.check("created", f"status {told.get('status')}, quantity {told.get('quantity')}", holds=created)
    findings.check("duplicates", f"{told.get('duplicates')} of 1", holds=told.get("duplicates") == 1)
    return ProbedBatch(str(told["batchId"]), addresses, told)


async def disturb(wire: Wire, findings: Findings, first: ProbedBatch, second: ProbedBatch, credits_before: int) -> None:
    """Asks for what must be refused while the batches are in flight: an early download, a deletion, a finish."""
    await _look(wire, second)
    if second.status == "queued":
        answer = await wire.send(Call.FINISH, "POST", f"{second.path}/finish")
        if not answer.is_granted:
            await _look(wire, second)
            findings.check("finish-of-queued", answer, holds=answer.refused_with == 400)
        else:
            second.was_finished = True
            findings.check("finish-of-queued", f"granted with {answer}", holds=False)
    else:
        findings.untried("finish-of-queued", f"the second batch was {second.status} at once")
    left = await wire.send(Call.CREDITS, "GET", "credits")
    download = await wire.send(Call.DOWNLOAD, "GET", f"{first.path}/download", download="all")
    deletion = await wire.send(Call.DELETE, "DELETE", first.path)
    await _look(wire, first)
    if first.status == "completed":
        for name in ("credits-held", "early-download", "delete-in-flight"):
            findings.untried(name, _TOO_SOON)
        return
    held, wanted = credits_before - int(left.told.get("credits", 0)), len(first.addresses) + len(second.addresses)
    if second.was_finished or 0 < held != wanted:
        fewer = counted(held, "credit")
        findings.untried("credits-held", f"{fewer} fewer, of {wanted}; something else uses the account too")
    else:
        findings.check("credits-held", f"{held} of {wanted} are held", holds=held == wanted)
    findings.check("early-download", download, holds=download.refused_with == 405)
    findings.check("delete-in-flight", deletion, holds=deletion.refused_with == 405)


async def complete_both(
    wire: Wire, findings: Findings, first: ProbedBatch, second: ProbedBatch, *, pause: float, until: float
) -> bool:
    """Waits until both are completed, and finishes the second one while it runs.

    Args:
        wire: The way to Bouncer.
        findings: What was found.
        first: The batch that was sent first.
        second: The other one.
        pause: Seconds between two looks.
        until: When to give up, by ``time.monotonic``.

    Returns:
        Whether the first one was completed in time.
    """
    asked = second.was_finished
    while {first.status, second.status} != {"completed"} and monotonic() < until:
        await asyncio.sleep(pause)
        for batch in (first, second):
            if batch.status != "completed":
                await _look(wire, batch)
        if second.status == "processing" and not asked:
            asked = True
            await _finish_running(wire, findings, second)
    seen = set(first.statuses) | set(second.statuses)
    findings.check("batch-statuses", ", ".join(sorted(seen)), holds=seen <= _STATUSES)
    if not asked:
        findings.untried("finish-of-running", "the second batch was not seen processing")
    if first.status == "completed":
        _check_completed(findings, first)
        _check_order(findings, first, second)
        answer = await wire.send(Call.FINISH, "POST", f"{first.path}/finish")
        findings.check("finish-of-completed", answer, holds=answer.refused_with == 400)
    return first.status == "completed"


async def delete_completed(wire: Wire, findings: Findings, batch: ProbedBatch) -> None:
    """Deletes a batch, and looks at what is left of it."""
    answer = await wire.send(Call.DELETE, "DELETE", batch.path)
    findings.check("delete-completed", answer, holds=answer.is_granted)
    if answer.is_granted:
        after = await wire.send(Call.DOWNLOAD, "GET", f"{batch.path}/download", download="all")
        findings.check("results-removed", after, holds=after.refused_with in {404, 405})
        again = await wire.send(Call.DELETE, "DELETE", batch.path)
        findings.check("delete-again", again, holds=again.refused_with in {404, 405})


async def _finish_running(wire: Wire, findings: Findings, batch: ProbedBatch) -> None:
    answer = await wire.send(Call.FINISH, "POST", f"{batch.path}/finish")
    if answer.is_granted:
        batch.was_finished = True
        findings.check("finish-of-running", answer, holds=True)
        return
    await _look(wire, batch)
    if batch.status == "completed":
        findings.untried("finish-of-running", _TOO_SOON)
    else:
        findings.check("finish-of-running", answer, holds=False)


async def _look(wire: Wire, batch: ProbedBatch) -> Exchange:
    answer = await wire.send(Call.STATUS, "GET", batch.path, **{"with-stats": "true"})
    if answer.is_granted and "status" in answer.told:
        batch.told = answer.told
        batch.statuses.append(str(answer.told["status"]))
    return answer


def _check_completed(findings: Findings, batch: ProbedBatch) -> None:
    told = batch.told
    times = {name: told.get(name) for name in ("created", "started", "completed")}
    all_there = all(batch.moment(name) for name in times)
    findings.check("times", "as documented" if all_there else times, holds=all_there)
    stats = told.get("stats")
    counted = isinstance(stats, dict) and sum(stats.values()) == told.get("processed") == len(batch.addresses)
    findings.check("stats", f"processed {told.get('processed')}, stats {stats}", holds=counted)
    findings.check("free-addresses", f"credits {told.get('credits')}", holds=told.get("credits") == 0)


def _check_order(findings: Findings, first: ProbedBatch, second: ProbedBatch) -> None:
    began, ended = second.moment("started"), first.moment("completed")
    if ended is None or (began is None and second.status == "completed"):
        findings.untried("one-after-another", "Bouncer did not tell when they were started and completed")
        return
    later = None if began is None else (began - ended).total_seconds()
    seen = (
        "the second has not started yet" if later is None else f"the second started {later:.1f} s after the first ended"
    )
    findings.check("one-after-another", seen, holds=later is None or later >= 0)
