"""Flow ``report-costs``: what was paid for in a month, by user, as an artifact and as a CSV file."""

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from blocks.access import open_database
from bouncer.costs.ledger import Ledger
from tasks.costs.ledger import publish_costs, take_month, write_costs
from tasks.running.heartbeats import sends_heartbeats

__all__ = ["report_costs"]


@flow(name="report-costs", flow_run_name="report costs", persist_result=False)
@sends_heartbeats
async def report_costs(
    month: Annotated[str | None, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = None,
    folder: Path | None = Path("~/.bouncer-flows/reports"),
) -> Ledger:
    """Tells what Bouncer charged in a month beside what its verdicts suggest, by user. Only reads the database.

    Needs the block contacts-database; prices are those of block bouncer-prices/default.

    Args:
        month: Such as 2026-05, in UTC; the month before the present one if left at None.
        folder: Where the file costs-YYYY-MM.csv is written, on the machine of the run; no file if None.
    """
    ledger = await take_month(await open_database(), month)
    if folder is not None:
        await write_costs(ledger, folder)
    return await publish_costs(ledger)
