"""A forecast in words and as Markdown."""

from bouncer.costs.address_count import DomainShare
from bouncer.costs.forecast import Forecast
from bouncer.plurals import counted
from bouncer.safe_text import in_markdown

__all__ = ["duration", "headline", "lines", "markdown", "with_bars"]

_BAR = 30


def headline(forecast: Forecast) -> str:
    """The forecast in one line; of a list, with the column that was taken."""
    contacts = counted(forecast.contacts, "contact")
    taken = "" if forecast.column is None else f" in column {forecast.column!r}"
    return (
        f"{forecast.to_pay - forecast.held_back:,} of {contacts}{taken} would be paid for: about "
        f"{counted(forecast.expected_credits, 'credit')}, {forecast.price:,.2f} {forecast.currency}"
    )


def lines(forecast: Forecast) -> list[tuple[str, str]]:
    """The figures with their names, in the order in which they are read."""
    share = forecast.charged_share
    basis = "none tells yet" if share is None else f"{share:.1%} of addresses"
    again = forecast.unknown_charged_share
    basis_again = "none tells yet" if again is None else f"{again:.1%} of these"
    told = "" if forecast.credits_ts is None else f", at {forecast.credits_ts:%Y-%m-%d %H:%M} UTC"
    at_hand = "not asked yet" if forecast.credits_at_hand is None else f"{forecast.credits_at_hand:,}"
    missing = forecast.credits_missing
    speed = "as slow as Bouncer documents" if forecast.pace_is_documented else "at the speed of recent batches"
    return [
        ("contacts", f"{forecast.contacts:,}"),
        ("· invalid addresses, at no cost", f"{forecast.invalid:,}"),
        ("· duplicates, at no cost", f"{forecast.duplicates:,}"),
        ("· verdict known and fresh, at no cost", f"{forecast.fresh:,}"),
        ("· on their way for others, at no cost", f"{forecast.shared:,}"),
        ("· addresses to pay for", f"{forecast.to_pay:,}"),
        ("  of these, unknown the last time", f"{forecast.unknown_before:,}"),
        ("  of these, for the deep pass", f"{forecast.deep:,}"),
        ("  of these, held back by caps on credits", f"{forecast.held_back:,}"),
        ("credits, at most", f"{forecast.most_credits:,}"),
        ("credits, expected", f"{forecast.expected_credits:,}"),
        ("· charged in recent batches", basis),
        ("· charged of those unknown before", basis_again),
        ("price, at most", f"{forecast.most_price:,.2f} {forecast.currency}"),
        ("price, expected", f"{forecast.price:,.2f} {forecast.currency}"),
        (f"credits at hand{told}", at_hand),
        ("credits to buy, at most", "not known" if missing is None else f"{missing:,}"),
        ("batches", f"{forecast.batches:,}"),
        (f"time, {speed}", duration(forecast.seconds)),
    ]


def markdown(forecast: Forecast) -> str:
    """The forecast as an artifact shows it."""
    bars = [
        f"| {in_markdown(share.domain)} | {share.contacts:,} | {share.share:.1%} | {bar} |"
        for share, bar in with_bars(forecast)
    ]
    return "\n".join(
        [
            f"## {headline(forecast)}",
            "",
            "| what | how many |",
            "|---|---:|",
            *(f"| {name} | {figure} |" for name, figure in lines(forecast)),
            "",
            "| domain | contacts | share | |",
            "|---|---:|---:|---|",
            *bars,
            f"| all others | {forecast.other_domains:,} | | |",
        ]
    )


def with_bars(forecast: Forecast) -> list[tuple[DomainShare, str]]:
    """The most frequent domains, each with a bar as long as its share."""
    most = max((share.contacts for share in forecast.domains), default=1)
    return [(share, "█" * max(1, round(_BAR * share.contacts / most))) for share in forecast.domains]


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:,.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:,.0f} minutes"
    return f"{seconds / 3600:,.1f} hours"
