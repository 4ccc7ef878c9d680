"""Automations that the settings, the accounts and the deployments ask for."""

from collections.abc import Collection
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

from blocks.bouncer_account import BouncerAccount
from bouncer.errors import SettingRefused
from bouncer.installation import here
from bouncer.storage.tables import Layer
from deployments.settings import Settings
from deployments.setup.automation_definitions import (
    deep_pass,
    deep_pass_name,
    ensure_automation,
    ensure_no_automation,
    is_as_wanted,
    notification_names,
    notifications,
    own_automations,
    silent_runs,
)

__all__ = ["WantedAutomations", "wanted_automations", "wanted_deep_pass"]


@dataclass(frozen=True)
class WantedAutomations:
    """Automations that should be there, and those that should not.

    Attributes:
        present: Those that should be there, as they should be.
        absent: The names of those that should not.
    """

    present: tuple[AutomationCore, ...] = ()
    absent: tuple[str, ...] = ()

    async def ensure(self, client: PrefectClient) -> list[str]:
        """Makes it so.

        Returns:
            A line for each thing that was changed.
        """
        changes: list[str] = []
        for automation in self.present:
            changes += await ensure_automation(client, automation)
        for name in self.absent:
            changes += await ensure_no_automation(client, name)
        return changes

    async def check(self, client: PrefectClient) -> list[str]:
        """Says what is otherwise; changes nothing."""
        wrong = [
            f"automation {automation.name!r} is missing or set otherwise"
            for automation in self.present
            if not await is_as_wanted(client, automation)
        ]
        return wrong + [
            f"automation {name!r} is left over" for name in self.absent if await own_automations(client, name)
        ]

    def __add__(self, other: "WantedAutomations") -> "WantedAutomations":
        """Both together."""
        return WantedAutomations(self.present + other.present, self.absent + other.absent)


async def wanted_automations(
    client: PrefectClient, settings: Settings, accounts: Collection[BouncerAccount]
) -> WantedAutomations:
    """All automations of this project.

    Args:
        client: Of the Prefect server.
        settings: The environment.
        accounts: All saved accounts.

    Raises:
        SettingRefused: ALERT_BLOCK names no block that can notify.
    """
    return (
        WantedAutomations((silent_runs(),))
        + await _wanted_notifications(client, settings)
        + await wanted_deep_pass(client, accounts)
    )


async def wanted_deep_pass(client: PrefectClient, accounts: Collection[BouncerAccount]) -> WantedAutomations:
    """The deep pass of each request follows its first one, where there is an account for it and a deployment."""
    if any(account.layer is Layer.DEEP for account in accounts):
        try:
            deployment = await client.read_deployment_by_name(here().deployment_of("verify-risky"))
        except ObjectNotFound:
            pass
        else:
            return WantedAutomations((deep_pass(deployment.id),))
    return WantedAutomations(absent=(deep_pass_name(),))


async def _wanted_notifications(client: PrefectClient, settings: Settings) -> WantedAutomations:
    if settings.alert_block is None:
        return WantedAutomations(await _present_notifications(client))
    if settings.alert_block == "off":
        return WantedAutomations(absent=notification_names())
    block_type, name = settings.alert_block.split("/")
    try:
        block = await client.read_block_document_by_name(name, block_type, include_secrets=False)
    except ObjectNotFound:
        raise SettingRefused(f"ALERT_BLOCK: there is no block {settings.alert_block}; make it in Prefect") from None
    if block.block_schema is None or "notify" not in block.block_schema.capabilities:
        raise SettingRefused(f"ALERT_BLOCK: block {settings.alert_block} cannot notify anybody; name one that can")
    return WantedAutomations(notifications(block.id))


async def _present_notifications(client: PrefectClient) -> tuple[AutomationCore, ...]:
    # They go on to the block that they go to, as this version makes them. What somebody has switched off stays so.
    present: list[AutomationCore] = []
    for name in notification_names():
        for found in await own_automations(client, name):
            for action in found.actions:
                if found.enabled and isinstance(action, SendNotification):
                    present += [one for one in notifications(action.block_document_id) if one.name == name]
    return tuple(present)
