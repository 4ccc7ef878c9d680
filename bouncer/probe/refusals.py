"""Refusals that can be provoked without a batch and at no cost: keys, ids, paths, bodies, one limit."""

import secrets
from urllib.parse import urlsplit

from bouncer.accounts.call_statistics import Call
from bouncer.probe.findings import Findings
from bouncer.probe.wire import Wire

__all__ = ["check_errors", "provoke_refusals", "use_up_credit_calls"]

_MOST_CREDIT_CALLS = 12


async def provoke_refusals(wire: Wire, findings: Findings) -> None:
    """Asks with a wrong key and none, without the version, for a batch that is not there, and sends what is no list."""
    wrong = await wire.send(Call.CREDITS, "GET", "credits", key=secrets.token_hex(20))
    findings.check("wrong-key", wrong, holds=wrong.refused_with == 401)
    missing = await wire.send(Call.CREDITS, "GET", "credits", key="")
    findings.check("missing-key", missing, holds=missing.refused_with == 401)
    parts = urlsplit(wire.base_url)
    if parts.path.strip("/"):
        without = await wire.send(Call.CREDITS, "GET", f"{parts.scheme}://{parts.netloc}/credits")
        findings.check("version", without, holds=not without.is_granted or "credits" not in without.told)
        # What answers where the API is not has a form of its own.
        wire.refusals = [refusal for refusal in wire.refusals if refusal is not without]
    else:
        findings.untried("version", "the base URL has no version")
    nobody = secrets.token_hex(12)
    for call, method, path in (
        (Call.STATUS, "GET", f"email/verify/batch/{nobody}"),
        (Call.DOWNLOAD, "GET", f"email/verify/batch/{nobody}/download"),
        (Call.DELETE, "DELETE", f"email/verify/batch/{nobody}"),
    ):
        answer = await wire.send(call, method, path)
        holds = answer.refused_with == 404 and nobody in str(answer.told.get("message"))
        findings.check("unknown-batch", f"{call}: {answer}", holds=holds)
    answer = await wire.send(Call.FINISH, "POST", f"email/verify/batch/{nobody}/finish")
    findings.check("finish-of-unknown-batch", answer, holds=answer.refused_with in {400, 404})
    malformed = await wire.send(Call.CREATE, "POST", "email/verify/batch", content={"this is": "no list"})
    findings.check("malformed-upload", malformed, holds=malformed.refused_with == 400)


async def use_up_credit_calls(wire: Wire, findings: Findings) -> None:
    """Asks for the credits until it was too often."""
    for asked in range(1, _MOST_CREDIT_CALLS + 1):
        answer = await wire.send(Call.CREDITS, "GET", "credits")
        if answer.refused_with == 429:
            told = answer.retry_after or "nothing"
            findings.check("credits-limit", f"call {asked} in a row: {answer}; Retry-After: {told}", holds=True)
            return
    findings.check("credits-limit", f"{_MOST_CREDIT_CALLS} calls in a row pass", holds=False)


def check_errors(wire: Wire, findings: Findings) -> None:
    """Looks at the form of all refusals that came."""
    odd = [
        refusal
        for refusal in wire.refusals
        if not {"status", "error", "message"} <= refusal.told.keys() or not str(refusal.told["status"]).isdigit()
    ]
    kinds = sorted({type(refusal.told.get("status")).__name__ for refusal in wire.refusals})
    seen = f"the form of {odd[0]}" if odd else f"{len(wire.refusals)} refusals; status as {' and '.join(kinds)}"
    findings.check("error-body", seen, holds=not odd)
