"""Verdicts and the time they take: repeatable and plausible."""

import random
from collections import Counter, defaultdict

import pytest

from sandbox.service.pace import Composition, seconds_to_verify
from sandbox.service.verdicts import count_statuses, digests_of, judge, render
from sandbox.settings import SandboxSettings


def _addresses(count: int) -> list[str]:
    draws = random.Random(4)
    free = ["gmail.com", "yahoo.com", "outlook.com", "gmx.de"]
    return [
        f"person{n}@" + (draws.choice(free) if n % 2 else f"company{draws.randrange(2000)}.com") for n in range(count)
    ]


def _codes(addresses: list[str], seed: int = 0) -> bytes:
    return judge(seed, addresses, digests_of(seed, addresses))


def test_a_verdict_depends_on_the_seed_and_the_address_alone() -> None:
    """The same address gets the same verdict in any company and order; another seed gives others."""
    addresses = _addresses(2000)
    codes = dict(zip(addresses, _codes(addresses), strict=True))
    shuffled = random.Random(1).sample(addresses, 500)
    assert [codes[address] for address in shuffled] == list(_codes(shuffled))
    assert list(codes.values()) != list(_codes(addresses, seed=1))


def test_the_mix_of_verdicts_is_plausible() -> None:
    """About 78 % are deliverable, 6 % risky, 12 % undeliverable and 4 % unknown."""
    counts = count_statuses(_codes(_addresses(20_000)))
    expected = {"deliverable": 15_600, "risky": 1_200, "undeliverable": 2400, "unknown": 800}
    assert counts == {status: pytest.approx(count, abs=800) for status, count in expected.items()}


def test_a_domain_accepts_all_or_does_not() -> None:
    """Accept-all is a property of the domain, so every address there agrees on it."""
    by_domain = defaultdict(set)
    addresses = [f"person{n}@company{n % 50}.com" for n in range(2000)]
    digests = digests_of(0, addresses).tolist()
    for address, digest, code in zip(addresses, digests, _codes(addresses), strict=True):
        domain = render(0, address, digest, code, "").get("domain")
        if domain and domain.get("acceptAll", "unknown") != "unknown":
            by_domain[domain["name"]].add(domain["acceptAll"])
    assert len(by_domain) > 45
    assert all(len(answers) == 1 for answers in by_domain.values())
    assert Counter(next(iter(answers)) for answers in by_domain.values())["yes"] > 3


def test_results_tell_what_they_are_about() -> None:
    """Free and disposable domains, role accounts, providers, misspelt domains and bad syntax are told as such."""

    def result(address: str) -> dict[str, object]:
        digests = digests_of(0, [address])
        # The upper half of the digest is left out: it decides what is untidy.
        code = judge(0, [address], digests)[0]
        return render(0, address, int(digests[0]) & 0xFFFFFFFF | 63 << 48, code, "2030-01-01T00:00:00Z")

    gmail = result("info@gmail.com")
    assert gmail["provider"] == "google.com"
    assert gmail["domain"] == {"name": "gmail.com", "acceptAll": "no", "disposable": "no", "free": "yes"}
    assert gmail["account"]["role"] == "yes"  # type: ignore[index]  # an object in every result
    assert result("someone@mailinator.com")["domain"]["disposable"] == "yes"  # type: ignore[index]  # likewise
    misspelt = result("someone@gmial.com")
    assert (misspelt["status"], misspelt["reason"]) == ("undeliverable", "invalid_domain")
    assert misspelt["didYouMean"] == "someone@gmail.com"
    assert (misspelt["dns"], misspelt["provider"]) == (None, None)
    for broken in ["no-at-sign", "@example.com", "someone@nodots"]:
        assert result(broken) == {"email": broken, "status": "undeliverable", "reason": "invalid_email"}


def test_the_documented_meanings_hold() -> None:
    """A full mailbox is low deliverability, a disposable one low quality; no score where nobody was reached."""
    addresses = [*_addresses(6000), *(f"person{n}@yopmail.com" for n in range(50))]
    digests = digests_of(0, addresses).tolist()
    seen = Counter[str]()
    for address, digest, code in zip(addresses, digests, _codes(addresses), strict=True):
        result = render(0, address, digest & ((1 << 48) - 1) | 63 << 48, code, "")
        domain, account = result.get("domain", {}), result.get("account", {})
        seen[result["reason"]] += 1
        match result["status"], result["reason"]:
            case "risky", "low_deliverability":
                assert (domain["acceptAll"], account["fullMailbox"]) in {("yes", "no"), ("no", "yes")}
                seen["unresolved"] += domain["acceptAll"] == "yes"
            case "risky", "low_quality":
                assert domain["disposable"] == "yes"
            case "deliverable", _ if domain["acceptAll"] == "yes":
                seen["resolved"] += 1
                assert result["score"] == 90
            case "unknown", _:
                assert "score" not in result
                assert domain["acceptAll"] == "unknown"
    assert seen["dns_error"] > 10
    assert seen["resolved"] > 3 * seen["unresolved"] > 0
    assert count_statuses(_codes(addresses))["unknown"] == sum(
        seen[reason] for reason in ("dns_error", "timeout", "unavailable_smtp", "unsupported", "unknown")
    )


def test_some_unknown_addresses_may_be_retried() -> None:
    """Grey-listed addresses carry the time at which to try again."""
    addresses = _addresses(3000)
    digests = digests_of(0, addresses).tolist()
    results = [
        render(0, address, digest, code, "2030-01-01T00:00:00Z")
        for address, digest, code in zip(addresses, digests, _codes(addresses), strict=True)
    ]
    waiting = [result for result in results if result.get("retryAfter")]
    assert waiting
    assert {result["status"] for result in waiting} == {"unknown"}
    scores = [result["score"] for result in results if result.get("score") is not None]
    assert (min(scores) >= 0, max(scores) <= 100) == (True, True)
    assert {result.get("toxicity") for result in results} == {None, 0, 1, 2, 3, 4, 5}


def test_interleaving_pays_off() -> None:
    """The same addresses take less time spread out than sorted by domain, and a single domain takes longest."""
    settings = SandboxSettings()
    mixed = [f"person{n}@company{n % 5}.com" for n in range(10_000)]
    single = [f"person{n}@gmail.com" for n in range(10_000)]

    def seconds(addresses: list[str]) -> float:
        return seconds_to_verify(settings, Composition.of(addresses))

    by_domain = sorted(mixed, key=lambda address: address.rpartition("@")[2])
    assert seconds(mixed) == pytest.approx(7.0, rel=0.01)
    assert seconds(by_domain) == pytest.approx(10.0, rel=0.01)
    assert seconds(single) == pytest.approx(22.0)
    assert seconds_to_verify(SandboxSettings(fixed_seconds=1.5), Composition.of(single)) == 1.5
