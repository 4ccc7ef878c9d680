"""Looks at the results of a batch, an address in real time, a callback."""

import asyncio
from time import monotonic
from typing import Any

from bouncer.accounts.call_statistics import Call
from bouncer.plurals import counted
from bouncer.probe.batch_probe import ProbedBatch
from bouncer.probe.findings import Findings
from bouncer.probe.listener import Listener
from bouncer.probe.wire import Wire

__all__ = ["NAMES", "ask_in_real_time", "await_callback", "check_results"]

NAMES = {
    "deliverable": {"deliverable"},
    "free": {"deliverable"},
    "disposable": {"risky"},
    "accept-all": {"risky", "deliverable"},
    "undeliverable": {"undeliverable"},
    "unknown": {"unknown"},
    "other": {"deliverable", "risky", "undeliverable", "unknown"},
}
"""Bouncer's free addresses, and the verdicts that their names promise."""

_REASONS = {
    "deliverable": {"accepted_email"},
    "risky": {"low_deliverability", "low_quality"},
    "undeliverable": {"invalid_email", "invalid_domain", "rejected_email"},
    "unknown": {"dns_error", "unavailable_smtp", "unsupported", "timeout", "unknown"},
}
_FLAGS = {"yes", "no", "unknown", None}


async def check_results(wire: Wire, findings: Findings, batch: ProbedBatch) -> None:
    """Downloads the results of a completed batch and looks at each."""
    answer = await wire.send(Call.DOWNLOAD, "GET", f"{batch.path}/download", download="all")
    results = answer.body if answer.is_granted and isinstance(answer.body, list) else None
    findings.check(
        "download", answer if results is None else counted(len(results), "result"), holds=results is not None
    )
    if results is None:
        return
    whole = [result for result in results if _is_whole(result)]
    seen = f"{len(results) - len(whole)} of {len(results)} without email, status or reason"
    findings.check("required-fields", seen, holds=len(whole) == len(results))
    sent, back = set(batch.addresses), {str(result["email"]).lower() for result in whole}
    without, strange = counted(len(sent - back), "address", "addresses"), counted(len(back - sent), "result")
    seen = f"{without} without a result, {strange} for no address"
    findings.check("each-address-once", seen, holds=sent == back and len(back) == len(whole))
    _check_verdicts(findings, whole)
    _check_fields(findings, whole)


async def ask_in_real_time(wire: Wire, findings: Findings, address: str, seconds: int) -> None:
    """Asks for one free address, which has a plus in it."""
    wire.transcript.know([address])
    answer = await wire.send(Call.VERIFY, "GET", "email/verify", email=address, timeout=str(seconds))
    told = answer.told
    echo = str(told.get("email")).lower() == address
    seen = f"{told.get('status')}, {told.get('reason')}" if echo else answer
    findings.check("real-time", seen, holds=answer.is_granted and _is_whole(told) and echo)


async def await_callback(
    wire: Wire, findings: Findings, batch: ProbedBatch, listener: Listener | None, until: float
) -> None:
    """Waits for the callback of a completed batch."""
    if listener is None:
        findings.untried("callback", "no address that Bouncer can reach; see --callback-url")
        return
    await asyncio.to_thread(listener.heard.wait, max(0.0, until - monotonic()))
    for headers, body in listener.calls:
        wire.transcript.add("callback", None, 0, headers, body)
    if not listener.calls:
        findings.check("callback", "none came", holds=False)
        return
    named = batch.id in str(listener.calls[0][1])
    findings.check("callback", f"came; the batch's id is {'in it' if named else 'not in it'}", holds=True)


def _is_whole(result: Any) -> bool:
    return isinstance(result, dict) and all(result.get(name) for name in ("email", "status", "reason"))


def _check_verdicts(findings: Findings, results: list[dict[str, Any]]) -> None:
    odd = [
        f"{name}: {result['status']}"
        for result in results
        if result["status"] not in NAMES.get(name := str(result["email"]).partition("+")[0].lower(), {result["status"]})
    ]
    findings.check("free-verdicts", odd[0] if odd else "as named", holds=not odd)
    strange = [
        f"{result['status']}, {result['reason']}"
        for result in results
        if result["reason"] not in _REASONS.get(str(result["status"]), set())
    ]
    findings.check("reasons", strange[0] if strange else "as documented", holds=not strange)


def _check_fields(findings: Findings, results: list[dict[str, Any]]) -> None:
    flags = ("acceptAll", "disposable", "free", "role", "disabled", "fullMailbox")
    odd = {
        f"{flag} {value!r}"
        for result in results
        for part in (result.get("domain") or {}, result.get("account") or {})
        for flag, value in part.items()
        if flag in flags and value not in _FLAGS
    }
    for field, most in (("score", 100), ("toxicity", 5)):
        values = [result.get(field) for result in results]
        odd |= {f"{field} {v!r}" for v in values if v is not None and not (isinstance(v, int) and 0 <= v <= most)}
    findings.check("result-fields", ", ".join(sorted(odd)) or "as documented", holds=not odd)
