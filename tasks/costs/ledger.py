"""Reporting what was paid for in a month: as an artifact, and as a CSV file for those who keep books."""

import asyncio
import csv
from datetime import UTC, datetime
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from blocks.bouncer_prices import load_prices
from bouncer.costs.ledger import Cost, Ledger, Month, take_ledger
from bouncer.credits.prices import PriceTable
from bouncer.errors import InputRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.files.csv.cells import harmless
from bouncer.files.private_folders import private_folder
from bouncer.installation import here
from bouncer.plurals import counted

__all__ = ["publish_costs", "take_month", "write_costs"]

_COLUMNS = ("month", "user_id", "user", "batches", "addresses", "expected_credits", "charged_credits", "difference")


@task(name="take-month", task_run_name="take month", cache_policy=NO_CACHE, persist_result=False)
async def take_month(engine: Engine, month: str | None) -> Ledger:
    """Adds up what was paid for in a month. Safe to run twice: it only reads.

    Args:
        engine: Of the contacts database.
        month: As ``YYYY-MM``, or None for the month before the present one, in UTC.

    Raises:
        SettingRefused: It is no month.
    """
    wanted = Month.before(datetime.now(UTC)) if month is None else Month.of(month)
    return await asyncio.to_thread(take_ledger, engine, wanted)


@task(name="write-costs", task_run_name="write costs", cache_policy=NO_CACHE, persist_result=False)
async def write_costs(ledger: Ledger, folder: Path) -> Path:
    """Writes ``costs-YYYY-MM.csv``, one line a user, whole or not at all. Safe to run twice: it is written anew.

    Args:
        ledger: Of one month.
        folder: Where to; made, for its owner alone, where there is none.

    Returns:
        The file.

    Raises:
        InputRefused: The folder cannot be made, or the file cannot be written.
    """
    return await asyncio.to_thread(_write, ledger, folder)


async def publish_costs(ledger: Ledger) -> Ledger:
    """Logs the costs of a month, publishes them as an artifact without any address of a user, and returns them."""
    prices = await load_prices()
    total = ledger.total
    paid = counted(total.charged + total.untold, "credit")
    headline = f"{ledger.month}: {paid} for {counted(total.addresses, 'address', 'addresses')}"
    get_run_logger().info("%s", headline)
    await acreate_markdown_artifact(
        _markdown(headline, ledger, prices), key=here().artifact("costs"), description=headline
    )
    return ledger


def _write(ledger: Ledger, folder: Path) -> Path:
    path = private_folder(folder) / f"costs-{ledger.month}.csv"
    try:
        with atomic_file(path) as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for cost in ledger.users:
                figures = (cost.batches, cost.addresses, cost.expected, cost.charged, cost.difference)
                writer.writerow([ledger.month, cost.user_id, harmless(cost.user or ""), *figures])
    except OSError as error:
        raise InputRefused(f"{path} cannot be written ({error.strerror}); choose another folder") from None
    return path


def _markdown(headline: str, ledger: Ledger, prices: PriceTable) -> str:
    total = ledger.total
    price = prices.price(total.charged + total.untold)
    return "\n".join(
        [
            f"## {headline}",
            "",
            f"{price:,.2f} {prices.currency}, if they were bought at once.",
            "",
            "| user | batches | addresses | credits expected | credits charged | difference | maybe paid twice |",
            "|---|---:|---:|---:|---:|---:|---:|",
            # By number: an artifact is stored at the Prefect server, where no address may be.
            *(_row(f"user {cost.user_id}", cost) for cost in ledger.users),
            _row("**all**", total),
            "",
            f"Bouncer reported nothing of {counted(total.untold, 'expected credit')}, which no difference counts.",
        ]
    )


def _row(whose: str, cost: Cost) -> str:
    figures = (cost.batches, cost.addresses, cost.expected, cost.charged)
    return f"| {whose} | {' | '.join(f'{n:,}' for n in figures)} | {cost.difference:+,} | {cost.maybe_paid_twice:,} |"
