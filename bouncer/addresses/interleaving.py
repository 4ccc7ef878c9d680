"""Lays addresses out into batches so that every batch, and every stretch of one, has the domain mix of the whole.

Bouncer verifies a mixed list faster than one that a single domain dominates, whose mail servers throttle. Three
steps, all vectorised:

1. Addresses, sorted by domain with the most frequent first, are dealt to the batches like cards. So a batch has
   its even share of every domain, rounded down or up, and so of any domains that stand together in that
   order, such as all those with one address.
2. In a batch the most frequent domain takes evenly spaced places. Its runs are as short as its share allows.
3. The others take the places left, in the order of the fractional parts of multiples of the golden ratio. That
   spreads any stretch of the sorted order over the whole batch, with no gap much over twice the mean.

No domain with less than half of the addresses comes more than three times in a row, nor does it where one batch
ends and the next begins, for each begins with the most frequent domain. Where that one has a third of the
addresses, it parts the others after every second or third. Where it has less, no other domain has half of the
places left, and any three neighbours in golden order end in the second half of the sorted order and span at least
as much of it as lies before them. The first domain is too short for that, and a later one has more before it.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["interleave", "lay_out"]

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
"""The fractional part of the golden ratio in units of 2 ** -64, where overflow is an exact modulo 1."""


def lay_out(domains: "pd.Series[str]", batch_size: int) -> pd.DataFrame:
    """Gives each address a batch, and a place in it, so that each domain is spread evenly over all batches.

    Args:
        domains: The domain of each address, N of them, in any order.
        batch_size: The most addresses of a batch, at least 1.

    Returns:
        One row an address, in the order and with the index of ``domains``: ``batch``, from 0 to
        ceil(N / batch_size) - 1, and ``position`` in the batch, from 0. Batches differ in size by at most one.
        The same input gives the same layout; equally frequent domains keep the order of their first addresses.
    """
    total = len(domains)
    batches = max(1, -(-total // batch_size))
    codes, _ = pd.factorize(domains, use_na_sentinel=False)
    counts = np.bincount(codes)
    top = int(np.max(counts, initial=0))
    by_domain = np.lexsort((codes, -counts[codes]))

    # Row by row the table deals out the sorted addresses; a batch is a column, and no more than three kinds differ.
    positions = np.empty((-(-total // batches), batches), dtype=np.int64)
    for first, end in pairwise(sorted({0, total % batches, top % batches, batches})):
        places = _spread(-(-(total - first) // batches), -(-(top - first) // batches))
        positions[: len(places), first:end] = places[:, np.newaxis]
    layout = np.empty((total, 2), dtype=np.int64)
    # The batches that get one address more of the most frequent domain are spread as the addresses in a batch are.
    layout[by_domain, 0] = np.tile(_spread(batches, top % batches), len(positions))[:total]
    layout[by_domain, 1] = positions.ravel()[:total]
    return pd.DataFrame(layout, columns=["batch", "position"], index=domains.index)


def interleave(domains: "pd.Series[str]") -> npt.NDArray[np.int64]:
    """Gives the order in which the addresses of one batch are sent, each domain spread evenly over the whole.

    Args:
        domains: The domain of each address, N of them, in any order.

    Returns:
        A permutation of 0 to N - 1, for ``iloc``: which address comes first, second, and so on.
    """
    return np.argsort(lay_out(domains, max(1, len(domains)))["position"].to_numpy())


def _spread(size: int, top: int) -> npt.NDArray[np.int64]:
    """Gives the place of each of ``size`` sorted addresses, the first ``top`` of which are of one domain."""
    taken = np.zeros(size, dtype=bool)
    taken[np.arange(top) + np.arange(top) * (size - top + 1) // top] = True
    golden = np.argsort(np.arange(size - top, dtype=np.uint64) * _GOLDEN_RATIO)
    places = np.empty(size, dtype=np.int64)
    places[:top] = np.flatnonzero(taken)
    places[top + golden] = np.flatnonzero(~taken)
    return places
