"""The advice on an address follows Bouncer's published rules, and says why."""

import pytest

from bouncer.verdicts.advice import Advice, Known, advise


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Known("completed", "deliverable", "accepted_email"), Advice.SEND),
        (Known("completed", "deliverable", "accepted_email", accept_all="yes"), Advice.SEND),
        (Known("completed", "deliverable", "accepted_email", toxicity=3), Advice.SEND),
        (Known("completed", "deliverable", "accepted_email", toxicity=4), Advice.SUPPRESS),
        (Known("completed", "unknown", "timeout", toxicity=5), Advice.SUPPRESS),
        (Known("completed", "undeliverable", "rejected_email"), Advice.SUPPRESS),
        (Known("completed", "undeliverable", "invalid_domain"), Advice.SUPPRESS),
        (Known("completed", "risky", "low_deliverability", full_mailbox="yes"), Advice.SUPPRESS),
        (Known("completed", "risky", "low_deliverability", accept_all="yes"), Advice.REVIEW),
        (Known("completed", "risky", "low_deliverability", accept_all="yes", full_mailbox="yes"), Advice.SUPPRESS),
        (Known("completed", "risky", "low_quality"), Advice.REVIEW),
        (Known("completed", "unknown", "timeout"), Advice.REVIEW),
        (Known("completed", "unknown", "dns_error"), Advice.REVIEW),
        (Known("completed", "some new status"), Advice.REVIEW),
        (Known("queued"), Advice.REVIEW),
        (Known("failed"), Advice.REVIEW),
        (Known("rejected"), Advice.SUPPRESS),
        (Known("ambiguous"), Advice.REVIEW),
    ],
)
def test_advice(known: Known, expected: Advice) -> None:
    """Nothing is advised to be sent to but what Bouncer has found deliverable, and not toxic."""
    advice, reason = advise(known)
    assert advice is expected
    assert reason


def test_a_good_lists_exceptions_are_named() -> None:
    """Bouncer lets senders with clean lists keep accept-all domains, and unknown ones of three reasons."""
    kept = [
        Known("completed", "risky", "low_deliverability", accept_all="yes"),
        *(Known("completed", "unknown", reason) for reason in ("unknown", "timeout", "unsupported")),
    ]
    others = [Known("completed", "risky", "low_quality"), Known("completed", "unknown", "dns_error")]
    assert ["reputation good" in advise(known)[1] for known in (*kept, *others)] == [True] * 4 + [False] * 2
