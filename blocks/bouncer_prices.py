"""The block that holds what credits cost, for forecasts and reports."""

from typing import cast

from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from pydantic import Field, HttpUrl, PositiveInt

from bouncer.prices import PUBLISHED, PriceTable

__all__ = ["BouncerPrices", "ensure_prices", "load_prices"]

_NAME = "default"


class BouncerPrices(Block):
    """What Bouncer's credits cost you: a few amounts and their prices; amounts in between are interpolated.

    Example:
        Load the saved prices:

        ```python
        from blocks.bouncer_prices import BouncerPrices

        prices = BouncerPrices.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Bouncer Prices"
    _block_type_slug = "bouncer-prices"
    _description = "What Bouncer's credits cost you: a few amounts and their prices; amounts in between follow."
    _documentation_url = HttpUrl("https://www.usebouncer.com/pricing/")
    _logo_url = HttpUrl("https://www.usebouncer.com/favicon.ico")

    prices: dict[PositiveInt, float] = Field(
        default_factory=lambda: dict(PUBLISHED),
        title="Prices",
        description="Credits that are bought at once, and what so many cost together.",
        min_length=1,
    )
    currency: str = Field(default="USD", title="Currency", min_length=1, max_length=10)

    @property
    def table(self) -> PriceTable:
        """The prices as forecasts use them."""
        return PriceTable(self.prices, self.currency)


async def load_prices() -> PriceTable:
    """The saved prices, or Bouncer's published ones where none are saved."""
    try:
        return cast("BouncerPrices", await BouncerPrices.aload(_NAME)).table
    except (ObjectNotFound, ValueError):
        # Prefect raises ValueError for a block document that does not exist.
        return PriceTable()


async def ensure_prices() -> list[str]:
    """Saves the published prices where none are saved, so that they can be changed in the UI.

    Returns:
        A line that says so; none where prices were there.
    """
    try:
        await BouncerPrices.aload(_NAME)
    except (ObjectNotFound, ValueError):
        await BouncerPrices().asave(_NAME)
        return [f"block bouncer-prices/{_NAME} saved, with Bouncer's published prices"]
    return []
