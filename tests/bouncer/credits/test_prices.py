"""What credits cost: the published prices at their amounts, and something sensible everywhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncer.credits.prices import PUBLISHED, PriceTable


@pytest.mark.parametrize(("amount", "price"), [*PUBLISHED.items(), (0, 0), (500, 4), (2_000_000, 4_000)])
def test_prices_at_and_beyond_the_table(amount: int, price: float) -> None:
    """The table's own amounts cost what it says; below and beyond it a credit costs as at its ends."""
    assert PriceTable().price(amount) == pytest.approx(price)


def test_between_two_amounts_the_discount_grows_evenly() -> None:
    """A hundred thousand credits lie halfway between ten thousand and a million on logarithmic scales."""
    assert PriceTable().price(100_000) == pytest.approx((60 * 2000) ** 0.5)


@given(st.integers(1, 5_000_000), st.integers(1, 5_000_000))
def test_more_credits_cost_more_together_and_less_each(one: int, another: int) -> None:
    """Nobody pays less for more, and no credit is dearer in a greater amount."""
    few, many = sorted([one, another])
    table = PriceTable()
    assert table.price(few) <= table.price(many) + 1e-9
    assert table.price(few) / few >= table.price(many) / many - 1e-9


def test_a_table_with_something_free_is_no_error() -> None:
    """A person may enter that the first credits are free; the rest is then interpolated plainly."""
    assert PriceTable({100: 0.0, 200: 10.0}).price(150) == pytest.approx(5)
    assert PriceTable({}).price(150) == 0
