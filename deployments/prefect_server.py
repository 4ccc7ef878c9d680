"""The program ``prefect``, whose server makes writers to its SQLite file wait for each other.

Prefect begins most transactions deferred. One that reads before it writes then fails at once if another has written in
between (SQLITE_BUSY_SNAPSHOT, which no busy timeout covers); the server answers 503, and the client sleeps 2 s, then
4 s, and so on. With a batch every few seconds, that met a fifth of all rate limit tokens and half of all task runs.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

__all__ = ["main"]

_begin = AioSqliteConfiguration.begin_transaction


def main() -> None:
    """Runs ``prefect`` with the arguments of this process."""
    AioSqliteConfiguration.begin_transaction = _begin_immediate  # type: ignore[method-assign]  # there is no setting
    app()


@asynccontextmanager
async def _begin_immediate(
    self: AioSqliteConfiguration, session: AsyncSession, with_for_update: bool = True
) -> AsyncGenerator[AsyncSessionTransaction, None]:
    del with_for_update
    async with _begin(self, session, with_for_update=True) as transaction:
        yield transaction


if __name__ == "__main__":
    main()
