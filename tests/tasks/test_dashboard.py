"""The dashboard: another version of it is for what has changed, not for what is otherwise at each check."""

from collections.abc import Sequence
from dataclasses import replace

from prefect import flow

from blocks.access import open_accounts
from bouncer.accounts.call_statistics import CallFigures
from bouncer.monitoring.health import Health
from bouncer.monitoring.thresholds import Thresholds
from tasks.monitoring.dashboard import draw_dashboard
from tasks.monitoring.measure import measure
from tasks.running.standing_artifacts import Published
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount

_LIMITS = Thresholds()


def _with_calls(healths: Sequence[Health], calls: CallFigures) -> list[Health]:
    return [replace(one, account=replace(one.account, by_call={"credits": calls})) for one in healths]


@on_sqlite
async def test_a_check_s_own_calls_draw_no_dashboard(set_up_account: SetUpAccount) -> None:
    """Each check asks for credits, and Bouncer takes another time to answer; that was a version, and 40 kB, a check."""
    await set_up_account()
    found = [
        CallFigures(total=1, p50_ms=11, p95_ms=12, max_ms=13, errors={}),
        CallFigures(total=2, p50_ms=21, p95_ms=22, max_ms=1023, errors={}),
        CallFigures(total=2, p50_ms=21, p95_ms=22, max_ms=23, errors={"429": 1}),
    ]

    @flow(persist_result=False)
    async def checks() -> list[Published]:
        async with open_accounts(None, "a check") as everyone:
            measured = await measure(everyone, everyone, _LIMITS)
            return [await draw_dashboard(everyone[0], _with_calls(measured, calls), _LIMITS, []) for calls in found]

    assert (await checks())[1:] == [Published.AS_BEFORE, Published.CHANGED]
