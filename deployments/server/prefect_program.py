"""The program ``prefect``, whose server makes writers to its SQLite file wait, and serves its own pages only.

Prefect begins most transactions deferred. One that reads before it writes then fails at once if another has written in
between (SQLITE_BUSY_SNAPSHOT, which no busy timeout covers); the server answers 503, and the client sleeps 2 s, then
4 s, and so on. With a batch every few seconds, that met a fifth of all rate limit tokens and half of all task runs.

A writer that waits must not stop the event loop, though: ``deployments.server.garbage_collection`` has the reason.

A page on the internet whose name is made to lead to 127.0.0.1 (DNS rebinding) could ask a server that has no password
for its blocks. It asks under its own name, which is refused here. So is a page that asks under the server's name:
``deployments.protection.own_pages`` has the reason. A server that has a password stops those who try many.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import prefect.server.api.server
from fastapi import FastAPI
from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from bouncer.files.private_files import read_private
from deployments.protection.own_pages import NotFramed, OwnNamesOnly, OwnPagesOnly
from deployments.protection.process_privacy import leave_nothing_to_others
from deployments.protection.server_proof import FILE, ProvesItself
from deployments.protection.slow_guesses import SlowGuesses
from deployments.server.entrance import ALLOWED_HOSTS
from deployments.server.garbage_collection import collect_aside
from deployments.server.memory import give_back_freed_memory
from deployments.server.reserved_port import listen_on_inherited_socket
from deployments.server.server_files import SERVER_HOME, ServerFiles

__all__ = ["main"]

_begin = AioSqliteConfiguration.begin_transaction
_create_app = prefect.server.api.server.create_app


def main() -> None:
    """Runs ``prefect`` with the arguments of this process."""
    leave_nothing_to_others()
    give_back_freed_memory()
    AioSqliteConfiguration.begin_transaction = _begin_immediate  # type: ignore[method-assign]  # there is no setting
    collect_aside()
    listen_on_inherited_socket()
    home = os.environ.get(SERVER_HOME)
    if home is not None:
        ServerFiles(Path(home)).note_process()
    prefect.server.api.server.create_app = _create_guarded_app
    app()


def _create_guarded_app(*args: Any, **kwargs: Any) -> FastAPI:
    made = _create_app(*args, **kwargs)
    # Automations ask for the running app again, which takes no more middleware.
    present: list[object] = [one.cls for one in made.user_middleware]
    if NotFramed in present:
        return made
    api = get_current_settings().server.api
    # The last that is added is the first that is asked.
    if hosts := os.environ.get(ALLOWED_HOSTS):
        made.add_middleware(OwnNamesOnly, hosts=hosts.split(","))
        made.add_middleware(OwnPagesOnly, origins=api.cors_allowed_origins.split(","))
    elif api.auth_string is not None:
        made.add_middleware(SlowGuesses, auth_string=api.auth_string.get_secret_value())
    made.add_middleware(NotFramed)
    if home := os.environ.get(SERVER_HOME):
        made.add_middleware(ProvesItself, secret=read_private(Path(home) / FILE))
    return made


@asynccontextmanager
async def _begin_immediate(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = True
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    del with_for_update
    async with _begin(self, session, with_for_update=True) as transaction:
        yield transaction


if __name__ == "__main__":
    main()
