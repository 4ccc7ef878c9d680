"""A real Prefect server for the tests, and what a test sets up on it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prefect import get_client
from prefect.blocks.core import Block
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.context import refresh_global_settings_context
from prefect.deployments.runner import RunnerDeployment
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogWorker
from sqlalchemy import Engine

from blocks.bouncer_account import BouncerAccount
from blocks.contacts_database import engine_of
from blocks.last_database import variable_name
from deployments.server.local_server import LocalServer, local_server
from deployments.settings import Settings
from deployments.setup.automation_definitions import deep_pass_name, notification_names
from deployments.setup.deployments_from_yaml import own_deployments
from deployments.setup.set_up import set_up

__all__ = [
    "WORK_POOL",
    "add_account",
    "forget_setup",
    "prefect_environment",
    "running_prefect_server",
    "save_in_the_ui",
    "send_what_waits",
    "served_deployments",
    "set_up_afresh",
]

WORK_POOL = "bouncer"
"""The pool of the default installation."""

_BLOCK_TYPES = ("bouncer-account", "contacts-database", "bouncer-prices")


def prefect_environment(server: LocalServer, home: Path) -> dict[str, str]:
    """The variables that make a process work with a server."""
    return {
        "PREFECT_API_URL": server.api_url,
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "bouncer,blocks,tasks",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    }


@contextmanager
def running_prefect_server(home: Path) -> Iterator[LocalServer]:
    """Runs a server as long as the context lasts, and makes this process work with it.

    Args:
        home: The folder of its files.
    """
    with pytest.MonkeyPatch.context() as patch, local_server(home) as server, _ends_with_this_process(home):
        for name, value in prefect_environment(server, home).items():
            patch.setenv(name, value)
        # Prefect has read its settings already, when a test module was imported.
        refresh_global_settings_context()
        yield server
        send_what_waits()
    refresh_global_settings_context()


@contextmanager
def _ends_with_this_process(home: Path) -> Iterator[None]:
    # Its end of the pipe closes even after kill -9 of the tests, which would leave the server running.
    watch = ["sh", "-c", 'read -r _; kill -9 "$(cat "$1")"', "sh", str(home / "server.pid")]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True) as watcher:
        yield
        watcher.kill()


def send_what_waits() -> None:
    """Sends the logs and events that Prefect keeps back for a moment; not to be called where an event loop runs."""
    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


async def forget_setup() -> None:
    """Takes the blocks, automations and limits away that an earlier test left, and with them its spent tokens."""
    async with get_client() as client:
        for block_type in _BLOCK_TYPES:
            # The server does not know the type before the first block of it is saved.
            with suppress(httpx.HTTPStatusError):
                for document in await client.read_block_documents_by_type(block_type, include_secrets=False):
                    await client.delete_block_document(document.id)
        with suppress(ObjectNotFound):
            await client.delete_variable_by_name(variable_name())
        for automation in await client.read_automations():
            if automation.name in (*notification_names(), deep_pass_name()):
                await client.delete_automation(automation.id)
        for limit in await client.read_global_concurrency_limits(limit=200, offset=0):
            await client.delete_global_concurrency_limit_by_name(limit.name)


async def set_up_afresh(database_url: str, **settings: Any) -> Engine:
    """Runs the project's own setup on a server that has no blocks and limits of it.

    Args:
        database_url: The contacts database.
        settings: Fields of ``Settings``.

    Returns:
        The engine that the flows use.
    """
    await forget_setup()
    await set_up(Settings(database_url=database_url, **settings))
    return engine_of(database_url)


async def save_in_the_ui(block: type[Block], name: str = "default", **fields: Any) -> None:
    """Changes fields of a saved block as Prefect's UI does: the server looks at types, and not at what makes sense."""
    async with get_client() as client:
        document = await client.read_block_document_by_name(name, block.get_block_type_slug())
        await client.update_block_document(
            document.id, BlockDocumentUpdate(block_schema_id=document.block_schema_id, data=fields)
        )


async def served_deployments(slots: int) -> list[RunnerDeployment]:
    """The deployments that ``serve`` would make now."""
    async with get_client() as client:
        return await own_deployments(client, slots)


async def add_account(name: str, **fields: Any) -> None:
    """Saves a further account block, like the default one but for some fields, and sets up what it needs."""
    default = cast("BouncerAccount", await BouncerAccount.aload("default"))
    values = {field: getattr(default, field) for field in BouncerAccount.model_fields}
    await BouncerAccount(**{**values, **fields}).asave(name, overwrite=True)
    await set_up(Settings())
