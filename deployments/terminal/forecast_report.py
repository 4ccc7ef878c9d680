"""``import --dry-run`` and ``ingest --dry-run``: forecasts on the terminal."""

import asyncio

from rich.table import Table
from sqlalchemy import Engine

from blocks.bouncer_account import BouncerAccount
from blocks.bouncer_prices import load_prices
from blocks.saved_blocks import load_saved
from bouncer.costs.forecast import Forecast, Terms, forecast_file
from bouncer.costs.forecast_text import headline, lines, with_bars
from bouncer.files.importing import request_names
from bouncer.files.lists.sources import opened_list
from bouncer.storage.engine import engine_for, probe
from bouncer.storage.migrate import pending
from bouncer.storage.urls import sqlite_file
from bouncer.verdicts.freshness import FreshFor
from deployments.settings import Settings
from deployments.terminal.console import console
from deployments.terminal.display import byte_progress, hide_expected_errors, row_progress
from flows.costs.forecast import forecast

__all__ = ["existing_database", "forecast_import", "forecast_ingest", "print_forecast"]


def forecast_import(
    settings: Settings,
    file: str,
    *,
    request: str | None,
    user: str | None,
    column: str | None,
    split: bool,
    quiet: bool,
) -> Forecast:
    """Forecasts what importing a file and verifying it would cost; changes nothing.

    A database that has no tables yet is left so, and nothing is known then.

    Args:
        settings: The environment; what is saved in the block goes first where the environment is silent.
        file: The list.
        request: The name of the request that the file would be imported into, or None for the file's name.
        user: The user of that request, or None for the local user.
        column: The header of the column of addresses, or its number from 1; None to find it.
        split: Whether cells with several addresses are split.
        quiet: Show no progress.
    """
    names = request_names(file, request, user)
    terms = asyncio.run(_terms(settings))
    with opened_list(file) as source, byte_progress("forecasting", source.path, quiet=quiet) as advance:
        return forecast_file(
            existing_database(settings), file, terms, request=names, column=column, split=split, progress=advance
        )


def forecast_ingest(request_id: int | None, *, max_credits: int | None, verbose: bool) -> Forecast:
    """Runs flow ``forecast`` in this process.

    Args:
        request_id: Only this request, or None for all.
        max_credits: The most credits that the run may commit, or None for any number.
        verbose: Show Prefect's own account of failures too.
    """
    if not verbose:
        hide_expected_errors()
    with row_progress("forecasting"):
        return asyncio.run(forecast(request_id, max_credits=max_credits))


def print_forecast(forecast: Forecast) -> None:
    """Prints a forecast with the shares of the domains as bars."""
    terminal = console()
    terminal.print(headline(forecast))
    figures = Table(title="Forecast", title_justify="left", show_header=False)
    figures.add_column()
    figures.add_column(justify="right")
    for name, figure in lines(forecast):
        figures.add_row(name, figure)
    terminal.print(figures)
    if not forecast.domains:
        return
    domains = Table(title="Domains", title_justify="left")
    domains.add_column("domain", overflow="fold")
    domains.add_column("contacts", justify="right")
    domains.add_column("share", justify="right")
    domains.add_column("")
    for share, bar in with_bars(forecast):
        domains.add_row(share.domain, f"{share.contacts:,}", f"{share.share:.1%}", bar)
    domains.add_row("all others", f"{forecast.other_domains:,}", "", "")
    terminal.print(domains)


def existing_database(settings: Settings) -> Engine | None:
    """Opens the contacts database; None where there is none yet, or one whose tables are not made yet."""
    file = sqlite_file(settings.url)
    if file is not None and not file.exists():
        # To connect to it would make it.
        return None
    engine = engine_for(settings.url)
    probe(engine)
    return None if pending(engine) else engine


async def _terms(settings: Settings) -> Terms:
    account = await _account(settings)
    return Terms(
        account="default",
        batch_size=account.batch_size,
        slots=account.max_concurrent_batches,
        fresh_for=FreshFor(days=account.result_max_age_days),
        prices=await load_prices(),
    )


async def _account(settings: Settings) -> BouncerAccount | Settings:
    saved = await load_saved(BouncerAccount, "default")
    if saved is None:
        return settings
    set_here = {name: value for name, value in settings.account_values().items() if name != "api_key"}
    return saved.model_copy(update=set_here)
