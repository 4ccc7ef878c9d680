"""Time that a batch takes: mail servers throttle many questions to one of them, so mixed batches are fast."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from sandbox.settings import SandboxSettings

__all__ = ["Composition", "seconds_to_verify"]


class Composition(NamedTuple):
    """Layout of a batch.

    Attributes:
        addresses: How many addresses it has, each counted once.
        top_domain_share: The share of the most frequent domain.
        longest_run: The most addresses of one domain in a row.
    """

    addresses: int
    top_domain_share: float
    longest_run: int

    @classmethod
    def of(cls, addresses: Sequence[str]) -> "Composition":
        """Measures addresses in the order in which they were sent; there must be one at least."""
        domains = [address.rpartition("@")[2] for address in addresses]
        top = max(Counter(domains).values())
        run = max(sum(1 for _ in same) for _, same in groupby(domains))
        return cls(len(domains), top / len(domains), run)


def seconds_to_verify(settings: SandboxSettings, composition: Composition) -> float:
    """Seconds from the creation of a batch to its completion.

    A domain may make up half of a batch without slowing it down as long as it is spread out.
    """
    if settings.fixed_seconds is not None:
        return settings.fixed_seconds
    throttled = max(2 * composition.top_domain_share - 1, composition.longest_run / composition.addresses, 0.0)
    slowdown = 1 + (settings.homogeneous_slowdown - 1) * throttled
    return settings.seconds_per_batch + composition.addresses / settings.addresses_per_second * slowdown
