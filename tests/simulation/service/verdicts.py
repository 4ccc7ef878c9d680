"""What a simulated Bouncer finds out about an address: its first letter says it, for all to know."""

from dataclasses import dataclass

__all__ = ["KINDS", "MALFORMED", "Answer", "answer_on"]

KINDS = {
    "d": "deliverable",
    "x": "undeliverable",
    "r": "risky",
    "u": "unknown, and stays so",
    "g": "grey-listed at first, then deliverable",
    "l": "left out of the first results",
    "c": "comes back in capitals",
    "m": "makes Bouncer refuse a batch",
}
"""The letters, with what they mean."""

MALFORMED = "m"
_FREE = "@sandbox.usebouncer.com"


@dataclass(frozen=True)
class Answer:
    """What Bouncer found out about an address.

    Attributes:
        status: In Bouncer's words; empty where the results leave the address out.
        cost: In credits.
        retry_after: After how many seconds it may be tried again, or None.
    """

    address: str
    status: str
    reason: str
    cost: int
    retry_after: float | None = None

    @property
    def is_left_out(self) -> bool:
        """True if the results do not have it."""
        return not self.status


def answer_on(address: str, time: int) -> Answer:
    """Says what is found out about an address when it is verified for the so-manieth time."""
    cost = 0 if address.lower().endswith(_FREE) else 1
    match address[0].lower():
        case "x":
            return Answer(address, "undeliverable", "rejected_email", cost)
        case "r":
            return Answer(address, "risky", "low_deliverability", cost)
        case "u":
            return Answer(address, "unknown", "timeout", 0)
        case "g" if time == 1:
            return Answer(address, "unknown", "unavailable_smtp", 0, retry_after=30.0)
        case "l" if time == 1:
            return Answer(address, "", "", 0)
    return Answer(address, "deliverable", "accepted_email", cost)
