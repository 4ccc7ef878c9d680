"""Price of credits, interpolated in a table of a few amounts and their prices."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

__all__ = ["PUBLISHED", "PriceTable"]

PUBLISHED: Mapping[int, float] = MappingProxyType({1_000: 8.0, 10_000: 60.0, 1_000_000: 2_000.0})
"""Bouncer's own prices in dollars, about: https://docs.usebouncer.com and usebouncer.com/pricing."""


@dataclass(frozen=True)
class PriceTable:
    """Prices of credits that are bought at once.

    Attributes:
        points: Credits and what so many cost together.
        currency: As people write it.
    """

    points: Mapping[int, float] = field(default_factory=lambda: PUBLISHED)
    currency: str = "USD"

    def price(self, credits_bought: int) -> float:
        """Returns the price of an amount of credits.

        Between two amounts of the table the price of one credit falls evenly on logarithmic scales, as discounts for
        quantity do. Outside of the table each costs what it costs at the nearest amount.
        """
        points = sorted(self.points.items())
        if credits_bought <= 0 or not points:
            return 0.0
        least, greatest = points[0], points[-1]
        for bound, is_beyond in ((least, credits_bought <= least[0]), (greatest, credits_bought >= greatest[0])):
            if is_beyond:
                return credits_bought * bound[1] / bound[0]
        (low, cheap), (high, dear) = next(pair for pair in pairwise(points) if credits_bought <= pair[1][0])
        if cheap <= 0 or dear <= 0:
            return cheap + (dear - cheap) * (credits_bought - low) / (high - low)
        way = math.log(credits_bought / low) / math.log(high / low)
        return math.exp(math.log(cheap) + way * math.log(dear / cheap))
