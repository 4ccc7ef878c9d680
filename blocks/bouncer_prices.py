"""The block that holds what credits cost, for forecasts and reports."""

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl, PositiveInt

from blocks.bouncer_account import BouncerAccount
from blocks.saved_blocks import load_saved, saved_values
from bouncer.credits.prices import PUBLISHED, PriceTable
from bouncer.errors import SettingRefused
from bouncer.installation import here

__all__ = ["BouncerPrices", "check_prices", "ensure_prices", "load_prices"]


class BouncerPrices(Block):
    """Prices of Bouncer's credits: a few amounts and their prices; amounts in between are interpolated.

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
    # The account's, whose prices they are.
    _logo_url = BouncerAccount._logo_url

    prices: dict[PositiveInt, float] = Field(
        default_factory=lambda: dict(PUBLISHED),
        title="Prices",
        description="Credits that are bought at once, and what so many cost together.",
        min_length=1,
    )
    currency: str = Field(
        default="USD",
        title="Currency",
        description="Of these prices, as forecasts and reports name it.",
        min_length=1,
        max_length=10,
    )

    @property
    def table(self) -> PriceTable:
        """The prices as forecasts use them."""
        return PriceTable(self.prices, self.currency)


async def load_prices() -> PriceTable:
    """The saved prices, or Bouncer's published ones where none are saved.

    Raises:
        SettingRefused: The saved prices cannot be used.
    """
    saved = await load_saved(BouncerPrices, here().block)
    return PriceTable() if saved is None else saved.table


async def ensure_prices() -> list[str]:
    """Saves the published prices where none are saved, so that they can be changed in the UI.

    Returns:
        A line that says so; none where prices were there.
    """
    if await saved_values(BouncerPrices, here().block):
        return []
    await BouncerPrices().asave(here().block)
    return [f"block bouncer-prices/{here().block} saved, with Bouncer's published prices"]


async def check_prices() -> list[str]:
    """Says what is off with the saved prices; changes nothing."""
    try:
        saved = await load_saved(BouncerPrices, here().block)
    except SettingRefused as refusal:
        return [str(refusal)]
    return [f"block bouncer-prices/{here().block} is missing"] if saved is None else []
