"""Alerts reach the people whom ALERT_BLOCK names, each once; without it there is nothing that would send any."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from uuid import UUID

import pytest
from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret

from bouncer.accounts import state as account_state
from bouncer.errors import SettingRefused
from bouncer.monitoring.thresholds import Thresholds
from bouncer.storage.engine import write
from bouncer.storage.tables import Account
from deployments.settings import Settings
from deployments.setup.automation_definitions import (
    ensure_automation,
    ensure_no_automation,
    is_as_wanted,
    notification_names,
    notifications,
)
from deployments.setup.check import check_setup
from deployments.setup.set_up import set_up
from flows.check_health import check_health
from tests.bouncer.contacts import set_back
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.flows.runs import until_it_holds
from tests.sandbox_process import SandboxHandle

pytestmark = on_sqlite


@contextmanager
def _inbox() -> Iterator[tuple[str, list[dict[str, str]]]]:
    received: list[dict[str, str]] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has there
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Inbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()


async def _names() -> set[str]:
    async with get_client() as client:
        return {one.name for one in await client.read_automations()} & set(notification_names())


@pytest.mark.scenario
async def test_an_alert_reaches_the_block_that_was_named(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str
) -> None:
    """A pause of two hours is told once when it is noticed and once when it is over, with who and why."""
    with _inbox() as (address, received):
        webhook = CustomWebhookNotificationBlock(
            name="ops", url=address, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        await webhook.save("ops", overwrite=True)
        engine = await set_up_account(alert_block="custom-webhook/ops")
        assert await _names() == set(notification_names())
        write(engine, account_state.pause, "default", by="ann@desk", reason="the list is wrong")
        set_back(engine, Account.paused_ts, 7200)
        quick = Thresholds(calm_minutes=0, worker_failures_an_hour=1_000_000)
        for _ in range(2):
            assert (await check_health(quick, return_state=True)).name == "Alerts"
        write(engine, account_state.resume, "default")
        for _ in range(2):
            assert (await check_health(quick, return_state=True)).name == "Completed"

        @until_it_holds
        async def told() -> None:
            assert sorted(message["subject"] for message in received) == [
                "bouncer-flows: paused began",
                "bouncer-flows: paused ended",
            ]

        await told()
    body = next(message["body"] for message in received if message["subject"].endswith("began"))
    assert "paused for 120 min by ann@desk: the list is wrong (threshold 60 min)" in body
    assert "Account default, since 20" in body


async def test_alerts_go_on_until_they_are_switched_off(
    set_up_account: SetUpAccount, sandbox: SandboxHandle, database_url: str
) -> None:
    """A command without ALERT_BLOCK leaves the automations as they are; only `off` takes them away."""
    await CustomWebhookNotificationBlock(name="ops", url="http://127.0.0.1:9/").save("ops", overwrite=True)
    await set_up_account(alert_block="off")
    assert await _names() == set()
    account = {"bouncer_api_key": sandbox.key, "bouncer_api_base_url": sandbox.url}
    settings = cast("Settings", Settings(database_url=database_url, alert_block="custom-webhook/ops", **account))
    assert await check_setup(settings) == [
        f"automation {name!r} is missing or set otherwise" for name in notification_names()
    ]
    assert [line for line in await set_up(settings) if "tell of" in line] == [
        f"automation {name!r} made" for name in notification_names()
    ]
    assert await set_up(settings) == []
    unset = settings.model_copy(update={"alert_block": None})
    assert await set_up(unset) == []
    assert await check_setup(unset) == []
    assert await _names() == set(notification_names())
    off = settings.model_copy(update={"alert_block": "off"})
    assert await check_setup(off) == [f"automation {name!r} is left over" for name in notification_names()]
    assert await set_up(off) == [f"automation {name!r} taken away" for name in notification_names()]
    assert await check_setup(off) == []
    assert await set_up(unset) == []
    assert await _names() == set()


async def test_those_of_an_earlier_version_are_renewed(set_up_account: SetUpAccount) -> None:
    """Also where ALERT_BLOCK is not set any more: to the same block; but what somebody switched off stays so."""
    ops = await CustomWebhookNotificationBlock(name="ops", url="http://127.0.0.1:9/").save("ops", overwrite=True)
    await set_up_account(alert_block="custom-webhook/ops")
    alerts, failing = notifications(cast("UUID", ops))
    old = failing.model_copy(update={"description": "As it was."})
    async with get_client() as client:
        for name in notification_names():
            await ensure_no_automation(client, name)
        await client.create_automation(old)
        await client.create_automation(alerts.model_copy(update={"enabled": False, "description": "As it was."}))
        assert await check_setup(Settings()) == [f"automation {failing.name!r} is missing or set otherwise"]
        assert await set_up(Settings()) == [f"automation {failing.name!r} mended"]
        assert await is_as_wanted(client, failing)
    assert await set_up(Settings(alert_block="off")) != []


async def test_the_order_in_which_events_are_kept_is_no_difference(set_up_account: SetUpAccount) -> None:
    """They are a set: in some processes it came in another order, and each setup made the automation again."""
    ops = await CustomWebhookNotificationBlock(name="ops", url="http://127.0.0.1:9/").save("ops", overwrite=True)
    await set_up_account()
    alerts, _ = notifications(cast("UUID", ops))
    wanted = alerts.model_copy(
        update={"trigger": alerts.trigger.model_copy(update={"expect": {f"event.{number}" for number in range(100)}})}
    )
    async with get_client() as client:
        await ensure_automation(client, wanted)
        assert await is_as_wanted(client, wanted)
        await ensure_no_automation(client, wanted.name)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("slack-webhook/nobody", "there is no block slack-webhook/nobody; make it in Prefect"),
        ("secret/words", "block secret/words cannot notify anybody; name one that can"),
    ],
)
async def test_a_block_that_cannot_notify_is_refused(set_up_account: SetUpAccount, block: str, said: str) -> None:
    """A block that is missing, or that is of another kind, is told at setup and not at the first alert."""
    await Secret(value="x").save("words", overwrite=True)
    with pytest.raises(SettingRefused, match=f"ALERT_BLOCK: {said}"):
        await set_up_account(alert_block=block)
