"""The probe from beginning to end: what an account does, beside what the table of behaviours says."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from bouncer.accounts.call_statistics import Call
from bouncer.errors import KeyRefused, UnexpectedAnswer
from bouncer.plurals import counted
from bouncer.probe.batch_probe import complete_both, delete_completed, disturb, send_batch
from bouncer.probe.findings import Finding, Findings, Outcome
from bouncer.probe.listener import Listener
from bouncer.probe.refusals import check_errors, provoke_refusals, use_up_credit_calls
from bouncer.probe.result_probe import NAMES, ask_in_real_time, await_callback, check_results
from bouncer.probe.wire import Wire

__all__ = ["ProbeReport", "probe"]

_OF_EACH_NAME = 20
_CALLBACK_SECONDS = 15.0
_REALTIME_SECONDS = 10
_DOMAIN = "sandbox.usebouncer.com"


@dataclass(frozen=True)
class ProbeReport:
    """Outcome of a probe.

    Attributes:
        findings: Of each behaviour that was tried or could not be.
        is_whole: Whether it came to its end; not where the batches were not completed in time.
    """

    findings: Sequence[Finding]
    is_whole: bool

    @property
    def differences(self) -> list[Finding]:
        """Findings that are not as the table has them."""
        return [finding for finding in self.findings if finding.outcome is Outcome.DIFFERS]


async def probe(
    wire: Wire, *, listener: Listener | None = None, pause: float = 2.0, limit: float = 110.0
) -> ProbeReport:
    """Asks an account for each call, and for each refusal that can be provoked harmlessly and at no cost.

    Args:
        wire: The way to Bouncer.
        listener: Where Bouncer can call, or None.
        pause: Seconds between two looks at a batch.
        limit: Seconds to wait at most for the batches.

    Returns:
        What was found.

    Raises:
        KeyRefused: The key is wrong.
        OutOfCredits: Too few credits can be held.
        UnexpectedAnswer: Not even the credits are told, or no batch is taken.
        BouncerUnavailable: Nothing came back.
    """
    findings = Findings()
    began = monotonic()
    credits_before = await _credits(wire)
    findings.check("credits", f"{credits_before:,}", holds=True)
    await provoke_refusals(wire, findings)
    first = await send_batch(wire, findings, _free_addresses())
    second = await send_batch(wire, findings, _free_addresses(), callback=listener.url if listener else None)
    await disturb(wire, findings, first, second, credits_before)
    done = await complete_both(wire, findings, first, second, pause=pause, until=began + limit)
    if done:
        await check_results(wire, findings, first)
    await ask_in_real_time(wire, findings, _free_addresses()[0], _REALTIME_SECONDS)
    if done and second.status == "completed":
        await await_callback(wire, findings, second, listener, monotonic() + _CALLBACK_SECONDS)
        left = await _credits(wire)
        findings.check("no-cost", f"{counted(credits_before - left, 'credit')} fewer", holds=left == credits_before)
        await delete_completed(wire, findings, first)
        await wire.send(Call.DELETE, "DELETE", second.path)
    await use_up_credit_calls(wire, findings)
    check_errors(wire, findings)
    return ProbeReport(findings.all(), is_whole=done and second.status == "completed")


async def _credits(wire: Wire) -> int:
    answer = await wire.send(Call.CREDITS, "GET", "credits")
    if answer.refused_with in {401, 403}:
        raise KeyRefused(f"Bouncer does not take the key: {answer}; set BOUNCER_API_KEY")
    told = answer.told.get("credits")
    if not answer.is_granted or not isinstance(told, int):
        raise UnexpectedAnswer(f"Bouncer does not tell the credits: {answer}; check BOUNCER_API_BASE_URL")
    return told


def _free_addresses() -> list[str]:
    # Fresh ones each time, or an answer could come out of a memory of Bouncer's.
    nonce = secrets.token_hex(4)
    return [f"{name}+{nonce}{number}@{_DOMAIN}" for number in range(_OF_EACH_NAME) for name in NAMES]
