"""Verdicts on addresses: the same for the same seed and address, in a plausible mix, as untidy as the real ones."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sandbox.service.domains import Domain, DomainKind, domain_for

__all__ = ["CHARGED", "FREE_OF_CHARGE", "STATUSES", "count_statuses", "digests_of", "judge", "odd", "render"]

STATUSES = ("deliverable", "risky", "undeliverable", "unknown")


class _Verdict(NamedTuple):
    status: str
    reason: str


_VERDICTS = (
    _Verdict("deliverable", "accepted_email"),
    _Verdict("risky", "low_deliverability"),
    _Verdict("risky", "low_quality"),
    _Verdict("undeliverable", "rejected_email"),
    _Verdict("undeliverable", "invalid_email"),
    _Verdict("undeliverable", "invalid_domain"),
    _Verdict("unknown", "dns_error"),
    _Verdict("unknown", "timeout"),
    _Verdict("unknown", "unavailable_smtp"),
    _Verdict("unknown", "unsupported"),
    _Verdict("unknown", "unknown"),
)
_CODES = {verdict.reason: code for code, verdict in enumerate(_VERDICTS)}

FREE_OF_CHARGE = 16
"""The bit that a code has where the address is one of the sandbox domain, which are never charged."""

CHARGED: NDArray[np.bool_] = np.array(
    [code < len(_VERDICTS) and _VERDICTS[code].status != "unknown" for code in range(2 * FREE_OF_CHARGE)]
)
"""True for the verdicts that are charged, by their code."""


def _per_mille(**weights: int) -> bytes:
    table = b"".join(bytes([_CODES[reason]]) * weight for reason, weight in weights.items())
    if len(table) != 1000:
        raise ValueError(f"the weights of a domain's verdicts add up to {len(table)}, not to 1000")
    return table


# Together, over a list that is half free mail and half companies: about 78 % deliverable, 6 % risky,
# 12 % undeliverable, 4 % unknown. Outside of domains that accept all, low deliverability is a full mailbox.
_TABLES = {
    DomainKind.FREE: _per_mille(
        accepted_email=780,
        low_deliverability=50,
        rejected_email=110,
        invalid_email=20,
        timeout=20,
        unavailable_smtp=10,
        unknown=10,
    ),
    DomainKind.PLAIN: _per_mille(
        accepted_email=820,
        low_deliverability=20,
        rejected_email=95,
        invalid_email=15,
        timeout=20,
        unavailable_smtp=15,
        unsupported=5,
        unknown=10,
    ),
    # Bouncer has resolved most of them already: 8 of 10 answers with acceptAll "yes" were deliverable, with score 90.
    DomainKind.ACCEPT_ALL: _per_mille(
        accepted_email=760, low_deliverability=190, timeout=20, unavailable_smtp=10, unsupported=20
    ),
    DomainKind.DISPOSABLE: _per_mille(low_quality=900, rejected_email=100),
    DomainKind.NO_DOMAIN: _per_mille(invalid_domain=1000),
    DomainKind.DNS_ERROR: _per_mille(dns_error=1000),
}
# What a deep look finds out of addresses at domains that accept all.
_DEEP_TABLE = _per_mille(accepted_email=640, rejected_email=280, low_deliverability=60, timeout=20)
_SANDBOX_REASONS = {
    "deliverable": "accepted_email",
    "free": "accepted_email",
    "disposable": "low_quality",
    "accept-all": "low_deliverability",
    "undeliverable": "rejected_email",
    "unknown": "unknown",
    "other": "low_quality",
}
_ROLES = frozenset(
    {"admin", "billing", "contact", "hello", "help", "hr", "info", "jobs", "marketing", "noreply", "office"}
    | {"postmaster", "sales", "support", "team", "webmaster"}
)
_SCORES = {"deliverable": (80, 100), "risky": (25, 75), "undeliverable": (0, 15)}
_SCORE_OF_RESOLVED = 90


def digests_of(seed: int, addresses: Iterable[str]) -> NDArray[np.uint64]:
    """Eight bytes for each address, equal for equal addresses; every verdict is drawn from them.

    Args:
        seed: The seed of the sandbox.
        addresses: Lower-cased addresses.
    """
    seeded = hashlib.blake2b(digest_size=8, key=str(seed).encode())
    digests = bytearray()
    for address in addresses:
        one = seeded.copy()
        one.update(address.encode())
        digests += one.digest()
    return np.frombuffer(digests, dtype="<u8")


def judge(seed: int, addresses: Iterable[str], digests: NDArray[np.uint64], *, deep: bool = False) -> bytes:
    """The code of the verdict on each address, one byte each; a deep one resolves most that a domain accepts all of."""
    codes = bytearray()
    for address, draw in zip(addresses, (digests % 1000).tolist(), strict=True):
        local, _, name = address.rpartition("@")
        if not local or "." not in name:
            codes.append(_CODES["invalid_email"])
            continue
        kind = domain_for(seed, name).kind
        if kind is DomainKind.SANDBOX:
            called = _sandbox_name(local)
            reason = "accepted_email" if deep and called == "accept-all" else _SANDBOX_REASONS[called]
            codes.append(_CODES[reason] | FREE_OF_CHARGE)
        elif deep and kind is DomainKind.ACCEPT_ALL:
            codes.append(_DEEP_TABLE[draw])
        else:
            codes.append(_TABLES[kind][draw])
    return bytes(codes)


def count_statuses(codes: bytes) -> dict[str, int]:
    """Counts these verdicts by status."""
    counts = dict.fromkeys(STATUSES, 0)
    for code, verdict in enumerate(_VERDICTS):
        counts[verdict.status] += codes.count(code) + codes.count(code | FREE_OF_CHARGE)
    return counts


def render(seed: int, address: str, digest: int, code: int, retry_after: str) -> dict[str, Any]:
    """One result as a download has it.

    Args:
        seed: The seed of the sandbox.
        address: The address as it was sent.
        digest: Its digest.
        code: The code of its verdict.
        retry_after: When a grey-listed address may be retried, ISO 8601.
    """
    status, reason = _VERDICTS[code & ~FREE_OF_CHARGE]
    lowered = address.lower()
    local, _, name = lowered.rpartition("@")
    domain = domain_for(seed, name)
    result: dict[str, Any] = {"email": lowered, "status": status, "reason": reason}
    if domain.meant:
        result["didYouMean"] = f"{local}@{domain.meant}"
    if reason == "invalid_email":
        # Echoed raw, and nothing more is told.
        return {**result, "email": address}
    reached = reason not in {"dns_error", "invalid_domain", "timeout", "unavailable_smtp", "unsupported", "unknown"}
    info = _domain_info(domain, local)
    accepts_all = info["acceptAll"] == "yes"
    toxicity = max(0, (digest >> 32) % 24 - 18)
    result |= {
        "domain": info if reached else {**info, "acceptAll": "unknown"},
        "account": {
            "role": _yes(local.partition("+")[0] in _ROLES),
            "disabled": _yes(reason == "rejected_email" and digest >> 36 & 3 == 0) if reached else "unknown",
            "fullMailbox": _yes(reason == "low_deliverability" and not accepts_all) if reached else "unknown",
        },
        "dns": domain.dns,
        "provider": domain.provider,
        "toxic": "unknown" if status == "unknown" else _yes(toxicity >= 4),
        "toxicity": toxicity,
    }
    if status in _SCORES:
        low, high = _SCORES[status]
        resolved = accepts_all and status == "deliverable"
        result["score"] = _SCORE_OF_RESOLVED if resolved else low + (digest >> 16) % (high - low + 1)
    if reason in {"timeout", "unavailable_smtp"} and digest >> 40 & 1:
        result["retryAfter"] = retry_after
    untidy = _UNTIDY.get(digest >> 48 & 63)
    if untidy:
        untidy(result)
    return result


def odd(result: dict[str, Any]) -> dict[str, Any]:
    """The same result with a status and a reason that are in no documentation."""
    return {**result, "status": "deferred", "reason": "mailbox_moved"}


def _domain_info(domain: Domain, local: str) -> dict[str, str]:
    name = _sandbox_name(local) if domain.kind is DomainKind.SANDBOX else domain.kind.value
    return {
        "name": domain.name,
        "acceptAll": _yes(name == "accept-all"),
        "disposable": _yes(name == "disposable"),
        "free": _yes(name == "free"),
    }


def _sandbox_name(local: str) -> str:
    name = local.partition("+")[0]
    return name if name in _SANDBOX_REASONS else "other"


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def _without(*fields: str) -> Callable[[dict[str, Any]], None]:
    def untidy(result: dict[str, Any]) -> None:
        for field in fields:
            result.pop(field, None)

    return untidy


def _with(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda result: result.update(fields)


def _domain_without_accept_all(result: dict[str, Any]) -> None:
    del result["domain"]["acceptAll"]


def _dns_with_records(result: dict[str, Any]) -> None:
    # As Bouncer's Java SDK has it.
    if result["dns"] is not None:
        host = result["dns"]["record"]
        result["dns"] = {**result["dns"], "records": [{"type": "MX", "name": host, "priority": 10}]}


# What is done to the results of every 64th address each: everything but email, status and reason can be
# missing or null, and more fields than the documented ones occur.
_UNTIDY: dict[int, Callable[[dict[str, Any]], None]] = {
    0: _without("domain"),
    1: _without("domain", "account", "dns", "provider", "score", "toxic", "toxicity"),
    2: _without("score"),
    3: _without("toxic", "toxicity"),
    4: _without("account"),
    5: _without("dns"),
    6: _domain_without_accept_all,
    7: _with(domain=None),
    8: _with(account=None, dns=None),
    9: _with(score=None),
    10: _with(toxicity=None, toxic=None),
    11: _with(provider=None),
    12: _with(retryAfter=None, didYouMean=None),
    13: _with(name="", verifiedAt=None),
    14: _with(insights={"mailboxAge": "unknown"}),
    15: _dns_with_records,
}
