"""Functions that are one transaction each: called with a connection, an engine, or the access of a run.

``admit_upload(connection, …)`` takes part in the caller's transaction. ``admit_upload(engine, …)`` is a transaction of
its own, run again as ``bouncer.storage.engine`` does. ``await admit_upload(access, …)`` is that beside the event loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from sqlalchemy import Connection, Engine

from bouncer.storage.engine import read, write

__all__ = ["BesideTheLoop", "Transacting", "Transaction", "reading", "writing"]

_Params = ParamSpec("_Params")
_Return = TypeVar("_Return")
_Return_co = TypeVar("_Return_co", covariant=True)


class Transacting(Protocol):
    """Something that runs transactions beside the event loop."""

    async def read(
        self, work: Callable[Concatenate[Connection, _Params], _Return], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return:
        """Runs ``work`` in a transaction that only reads."""
        ...

    async def write(
        self, work: Callable[Concatenate[Connection, _Params], _Return], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return:
        """Runs ``work`` in one transaction."""
        ...


class Transaction(Protocol[_Params, _Return_co]):
    """A function that takes part in a transaction, or is one."""

    @overload
    def __call__(
        self, connection: Connection | Engine, /, *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return_co: ...
    @overload
    def __call__(
        self, access: Transacting, /, *args: _Params.args, **kwargs: _Params.kwargs
    ) -> Coroutine[Any, Any, _Return_co]: ...


class BesideTheLoop:
    """Runs transactions in threads, so that the event loop goes on.

    Attributes:
        engine: Of the database.
    """

    engine: Engine

    async def read(
        self, work: Callable[Concatenate[Connection, _Params], _Return], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return:
        """Runs ``work`` in a transaction that only reads."""
        return await asyncio.to_thread(lambda: read(self.engine, work, *args, **kwargs))

    async def write(
        self, work: Callable[Concatenate[Connection, _Params], _Return], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return:
        """Runs ``work`` in one transaction."""
        return await asyncio.to_thread(lambda: write(self.engine, work, *args, **kwargs))

    async def compute(self, work: Callable[_Params, _Return], *args: _Params.args, **kwargs: _Params.kwargs) -> _Return:
        """Runs ``work``, which keeps a processor busy."""
        return await asyncio.to_thread(work, *args, **kwargs)


def reading(work: Callable[Concatenate[Connection, _Params], _Return]) -> Transaction[_Params, _Return]:
    """Makes a function a transaction that only reads."""
    return _transaction(work, read, lambda access: access.read)


def writing(work: Callable[Concatenate[Connection, _Params], _Return]) -> Transaction[_Params, _Return]:
    """Makes a function a transaction that writes; it must be safe to run twice, as ``engine.write`` says."""
    return _transaction(work, write, lambda access: access.write)


def _transaction(
    work: Callable[Concatenate[Connection, _Params], _Return],
    of_engine: Callable[..., _Return],
    of_access: Callable[[Transacting], Callable[..., Coroutine[Any, Any, _Return]]],
) -> Transaction[_Params, _Return]:
    @wraps(work)
    def transaction(
        where: Connection | Engine | Transacting, *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Return | Coroutine[Any, Any, _Return]:
        if isinstance(where, Connection):
            return work(where, *args, **kwargs)
        if isinstance(where, Engine):
            return of_engine(where, work, *args, **kwargs)
        return of_access(where)(work, *args, **kwargs)

    return cast("Transaction[_Params, _Return]", transaction)
