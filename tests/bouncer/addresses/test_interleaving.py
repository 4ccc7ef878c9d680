from collections import Counter
from itertools import groupby

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bouncer.addresses.interleaving import interleave, lay_out

# How fast the machine is decides nothing here.
_any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_BATCH_SIZES = st.one_of(st.integers(1, 12), st.integers(1, 3000))
_FEW_DOMAINS = st.lists(st.integers(1, 600), min_size=1, max_size=8)
_MANY_DOMAINS = st.lists(st.sampled_from([1, 1, 1, 2, 3, 5, 40]), min_size=1, max_size=300)
_ALIKE_DOMAINS = st.builds(lambda count, domains: [count] * domains, st.integers(1, 90), st.integers(1, 40))
_POWERS_OF_TWO = st.integers(1, 11).map(lambda n: [2**k for k in range(n)])
_ANY_COUNTS = st.one_of(
    _FEW_DOMAINS,
    _MANY_DOMAINS,
    _ALIKE_DOMAINS,
    _POWERS_OF_TWO,
    st.builds(lambda few, many: few + many, _FEW_DOMAINS, _MANY_DOMAINS),
)


@st.composite
def _counts_below_half(draw):
    counts = draw(_ANY_COUNTS)
    # Just enough others that the most frequent domain misses half by as little as can be, or somewhat more.
    missing = 2 * max(counts) + 1 - sum(counts)
    if missing <= 0:
        return counts
    return counts + draw(st.sampled_from([[1] * missing, [missing // 2, missing - missing // 2, 1], [1] * 2 * missing]))


def _domains(counts, seed=0):
    named = np.repeat([f"domain-{k}.example" for k in range(len(counts))], counts)
    return pd.Series(np.random.default_rng(seed).permutation(named))


def _realistic(total):
    # Three in ten at one provider, a long tail, and every fifth address alone with its domain.
    shares = np.r_[0.30, 0.12, 0.09, 0.05, 0.04, 0.20 / np.arange(1, 200) / (1 / np.arange(1, 200)).sum()]
    counts = [int(share * total) for share in shares if share * total >= 1]
    return _domains(counts + [1] * (total - sum(counts)))


def _batches(domains, batch_size):
    layout = lay_out(domains, batch_size).assign(domain=domains).sort_values(["batch", "position"])
    return [batch["domain"].tolist() for _, batch in layout.groupby("batch")]


def _longest_run(sequence, domain=None):
    return max(len(list(run)) for name, run in groupby(sequence) if domain in {None, name})


@_any_speed
@given(_ANY_COUNTS, _BATCH_SIZES)
def test_every_address_has_one_place_in_batches_of_equal_size(counts, batch_size):
    """Nothing is lost or doubled, no batch is over its size, and batches differ by at most one address."""
    domains = _domains(counts)

    layout = lay_out(domains, batch_size)

    sizes = layout.groupby("batch").size()
    assert sizes.index.tolist() == list(range(-(-len(domains) // batch_size)))
    assert sizes.max() <= batch_size
    assert sizes.max() - sizes.min() <= 1
    places = layout.sort_values(["batch", "position"])["position"].tolist()
    assert places == [position for size in sizes for position in range(size)]
    assert layout.index.equals(domains.index)


@_any_speed
@given(_ANY_COUNTS, _BATCH_SIZES)
@example([7, 5, 3], 4)
@example([1] * 100, 7)
def test_every_batch_has_the_domain_mix_of_the_whole(counts, batch_size):
    """No batch is off a domain's even share by two addresses, nor off that of all one-address domains together."""
    domains = _domains(counts)
    frequencies = domains.map(domains.value_counts())

    batch = lay_out(domains, batch_size)["batch"]

    sizes = np.bincount(batch)
    for kind in (domains, frequencies == 1):
        table = pd.crosstab(kind, batch).to_numpy()
        even_share = np.outer(table.sum(axis=1), sizes) / len(domains)
        assert np.abs(table - even_share).max() < 2


@_any_speed
@given(_counts_below_half(), _BATCH_SIZES)
@example([49, 49, 1], 10)
@example([33, 33, 33], 99)
@example([7, 7, 1], 1)
def test_no_domain_below_half_comes_more_than_three_times_in_a_row(counts, batch_size):
    """Mail servers of one domain see no burst, neither in a batch nor from one batch to the next."""
    batches = _batches(_domains(counts), batch_size)

    assert _longest_run([domain for batch in batches for domain in batch]) <= 3
    assert max(_longest_run(batch) for batch in batches) <= 3


@_any_speed
@given(_ANY_COUNTS, st.integers(1, 5), _BATCH_SIZES)
@example([2], 5, 11)
@example([1] * 100, 9, 1000)
def test_runs_of_a_domain_over_half_are_as_short_as_can_be(others, factor, batch_size):
    """A list that one domain dominates is broken up by the others as far as they go."""
    dominant = "domain-0.example"
    counts = [sum(others) * factor + 1, *others]

    for batch in _batches(_domains(counts), batch_size):
        count, rest = batch.count(dominant), len(batch) - batch.count(dominant)
        if 0 < rest <= count:
            assert _longest_run(batch, dominant) == -(-count // (rest + 1))


def test_two_domains_with_half_each_take_turns():
    """Where two domains share a list, no address follows one of its own domain."""
    for batch in _batches(_domains([500, 500]), 250):
        assert _longest_run(batch) == 1


@_any_speed
@given(_ANY_COUNTS, st.integers(1, 100))
def test_the_order_of_the_input_does_not_change_the_mix(counts, seed):
    """The same contacts in another order, as a database may return them, give the same layout."""
    counts = np.cumsum(counts).tolist() if sum(counts) < 300 else sorted(set(counts))
    one, other = _domains(counts), _domains(counts, seed)

    assert one.iloc[interleave(one)].tolist() == other.iloc[interleave(other)].tolist()


@_any_speed
@given(_ANY_COUNTS)
def test_interleave_is_the_layout_of_one_batch(counts):
    """A batch on its own keeps the same bounds: its order is the layout of one batch."""
    domains = _domains(counts)

    order = interleave(domains)

    assert sorted(order) == list(range(len(domains)))
    assert [domains.iloc[order].tolist()] == _batches(domains, len(domains))


def test_a_realistic_list_is_even_in_every_tenth_of_every_batch():
    """Each stretch of a batch has the mix of the whole: no tail of one domain, no pile of one-address domains."""
    domains = _realistic(40_000)
    alone = domains.map(domains.value_counts()) == 1
    kind = domains.mask(alone, "one address")
    layout = lay_out(domains, 10_000)

    tenths = pd.crosstab([layout["batch"], layout["position"] // 1000], kind)

    assert len(tenths) == 40
    expected = kind.value_counts()[tenths.columns].to_numpy() / 40
    assert (np.abs(tenths.to_numpy() - expected) <= np.maximum(4, 0.02 * expected)).all()


def test_no_gap_of_a_frequent_domain_is_much_more_than_twice_the_mean():
    """A domain's mail servers are asked at a steady rate."""
    domains = _realistic(20_000)
    sequence = domains.iloc[interleave(domains)].reset_index(drop=True)

    for domain, count in domains.value_counts()[lambda counts: counts >= 20].items():
        places = np.flatnonzero(sequence == domain)
        assert np.diff(places).max() <= 2.1 * len(sequence) / count


def test_equally_frequent_domains_keep_the_order_of_their_first_addresses():
    """Which domain goes first does not depend on chance."""
    domains = pd.Series(["b.example", "a.example", "c.example", "c.example", "a.example", "b.example"])

    assert domains.iloc[interleave(domains)].tolist()[0] == "b.example"


def test_the_layout_keeps_an_index_of_any_kind():
    """A caller may lay out a part of its contacts and join on their index."""
    domains = pd.Series(["a.example", "a.example", "b.example"], index=[70, 5, 5])

    assert lay_out(domains, 2).index.tolist() == [70, 5, 5]


@pytest.mark.parametrize("batch_size", [1, 10])
def test_no_addresses_make_no_batches(batch_size):
    """An empty claim is not an error."""
    nothing = pd.Series([], dtype=str)

    assert lay_out(nothing, batch_size).empty
    assert interleave(nothing).size == 0


def test_one_domain_alone_is_only_cut_into_batches():
    """A list of one company's addresses is verified like any other."""
    assert [Counter(batch) for batch in _batches(_domains([25]), 10)] == [
        {"domain-0.example": 9},
        {"domain-0.example": 8},
        {"domain-0.example": 8},
    ]


def test_addresses_without_a_domain_are_laid_out_like_those_of_one():
    """What is no address has no domain; it is no reason not to send the others."""
    domains = pd.Series(["a.example", None, "b.example", None, "a.example", None])
    layout = lay_out(domains, 3)
    assert Counter(layout["batch"]) == {0: 3, 1: 3}
    assert all(batch["batch"].size in {1, 2} for _, batch in layout[domains.isna()].groupby("batch"))
    assert sorted(map(tuple, layout.to_numpy())) == [(batch, place) for batch in (0, 1) for place in (0, 1, 2)]


def test_batches_and_places_are_whole_numbers():
    """They are written into columns of integers."""
    assert set(lay_out(_realistic(1000), 100).dtypes) == {np.dtype(np.int64)}
