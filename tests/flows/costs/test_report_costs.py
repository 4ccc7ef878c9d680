"""Flow report-costs: the month's costs by user, as an artifact and a file."""

import csv
from datetime import UTC, datetime
from pathlib import Path

from prefect import get_client

from flows.costs.report_costs import report_costs
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle


@on_sqlite
async def test_a_months_costs_are_bouncers_own_and_agree_with_its_verdicts(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, tmp_path: Path
) -> None:
    """What the sandbox charged is what was expected; the file names the user, the artifact only a number."""
    engine = await set_up_account()
    queue(engine, addresses(600))
    await ingested()
    month = f"{datetime.now(UTC):%Y-%m}"
    folder = tmp_path / "reports"
    ledger = await report_costs(month, folder)
    charged = sandbox.ledger()["credits_charged"]
    assert (ledger.total.charged, ledger.total.difference, ledger.total.addresses) == (charged, 0, 600)
    (line,) = csv.DictReader(_text(folder / f"costs-{month}.csv").splitlines())
    assert (line["user_id"], line["user"], line["charged_credits"]) == ("1", "owner@example.com", str(charged))
    async with get_client() as client:
        answer = await client.request("GET", "/artifacts/costs/latest")
    shown = answer.raise_for_status().json()["data"]
    assert f"| user 1 | 2 | 600 | {charged} | {charged} | +0 | 0 |" in shown
    assert "@" not in shown
    before = await report_costs(None, None)
    assert before.total.batches == 0


def _text(path: Path) -> str:
    return path.read_text()
