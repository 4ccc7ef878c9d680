"""Says what to do with an address by Bouncer's own rules: send to it, review it, or suppress it.

Source: https://docs.usebouncer.com, on terminology and on keeping or removing addresses by their verdict.
"""

import enum
from dataclasses import dataclass

__all__ = ["Advice", "Known", "advise"]

_TOXIC = 4
_NOT_FOUND_OUT = frozenset({"unknown", "timeout", "unsupported"})


class Advice(enum.StrEnum):
    """Advice on an address."""

    SEND = "send"
    REVIEW = "review"
    SUPPRESS = "suppress"


@dataclass(frozen=True)
class Known:
    """All that is known of an address.

    Attributes:
        outcome: Where its contact stands in the queue: ``completed``, ``failed``, …; or ``rejected``, ``ambiguous``.
        status: The verdict that counts; None or empty where there is none.
        reason: Bouncer's reason for it.
        accept_all: Whether its domain takes mail for any address: yes, no or unknown.
        full_mailbox: Whether its mailbox is full: yes, no or unknown.
        toxicity: 0 to 5, or None.
    """

    outcome: str
    status: str | None = None
    reason: str | None = None
    accept_all: str | None = None
    full_mailbox: str | None = None
    toxicity: int | None = None


_WITHOUT_VERDICT = {
    "ambiguous": (Advice.REVIEW, "the line was rejected, though it holds addresses"),
    "rejected": (Advice.SUPPRESS, "no address that can be mailed to"),
    "failed": (Advice.REVIEW, "no verdict: its verification failed"),
}


def advise(known: Known) -> tuple[Advice, str]:
    """Gives the advice and, in words, the reason for it."""
    if not known.status:
        return _WITHOUT_VERDICT.get(known.outcome, (Advice.REVIEW, "not verified yet"))
    if known.toxicity is not None and known.toxicity >= _TOXIC:
        return Advice.SUPPRESS, f"toxicity {known.toxicity} of 5: likely to complain, or a trap"
    match known.status:
        case "deliverable":
            return Advice.SEND, "the mailbox takes mail"
        case "undeliverable":
            return Advice.SUPPRESS, f"mail would bounce{_because(known.reason)}"
        case "risky":
            return _on_risky(known)
    of_good_lists = (
        "; send only if the list is clean and your reputation good" if known.reason in _NOT_FOUND_OUT else ""
    )
    return Advice.REVIEW, f"nothing was found out{_because(known.reason)}{of_good_lists}"


def _on_risky(known: Known) -> tuple[Advice, str]:
    if known.full_mailbox == "yes":
        return Advice.SUPPRESS, "the mailbox is full"
    if known.accept_all == "yes":
        return Advice.REVIEW, "the domain accepts all mail; send only if the list is clean and your reputation good"
    return Advice.REVIEW, f"mail may bounce{_because(known.reason)}"


def _because(reason: str | None) -> str:
    return f" ({reason.replace('_', ' ')})" if reason and reason != "unknown" else ""
