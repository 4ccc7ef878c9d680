"""Flow forecast: what it says is what Bouncer then bills, and nothing is changed by it."""

from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State
from sqlalchemy import Engine, select

from bouncer.costs.forecast import Forecast
from bouncer.storage.engine import read
from bouncer.storage.tables import Base
from flows.costs.forecast import forecast
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle


def _everything(engine: Engine) -> dict[str, list[Any]]:
    tables = Base.metadata.tables.values()
    return read(engine, lambda connection: {t.name: list(connection.execute(select(t)).all()) for t in tables})


async def _forecast(request_id: int | None = None) -> Forecast:
    state: State[Forecast] = await forecast(request_id, return_state=True)
    return await state.aresult()


async def test_the_forecast_agrees_with_bouncers_bill_within_one_percent(
    set_up_account: SetUpAccount, sandbox: SandboxHandle
) -> None:
    """After one list, the credits of the next are forecast: known addresses, repeated ones and unknown verdicts too."""
    engine = await set_up_account(batch_size=1000)
    first = addresses(3000)
    queue(engine, first)
    before = await _forecast()
    await ingested()
    billed = sandbox.ledger()["credits_charged"]
    assert billed <= before.most_credits == before.expected_credits == 3000
    queue(engine, [*first[:900], *addresses(4000, prefix="second"), *addresses(500, prefix="SECOND")], request=2)
    rows = _everything(engine)
    forecast_of_second = await _forecast(2)
    assert _everything(engine) == rows
    await ingested(2)
    bill = sandbox.ledger()["credits_charged"] - billed
    assert abs(forecast_of_second.expected_credits - bill) <= 0.01 * bill
    assert bill <= forecast_of_second.most_credits


@on_sqlite
@pytest.mark.scenario
async def test_a_forecast_is_published_for_people(set_up_account: SetUpAccount, sandbox: SandboxHandle) -> None:
    """The run leaves an artifact with figures and a chart of the domains, and not one address; nothing is asked."""
    engine = await set_up_account()
    queue(engine, addresses(70))
    result = await _forecast()
    assert (result.contacts, result.to_pay, result.price) == (70, 70, 0.56)
    async with get_client() as client:
        answer = await client.request("GET", "/artifacts/forecast/latest")
    shown = answer.raise_for_status().json()["data"]
    assert shown.startswith("## 70 of 70 contacts would be paid for: about 70 credits, 0.56 USD")
    assert "| gmail.com | 10 | 14.3% | ██" in shown
    assert "@" not in shown
    assert sandbox.ledger()["requests"] == 0
