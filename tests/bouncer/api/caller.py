"""A caller of the sandbox with a gate and a key of its own, to see what the client makes of the answers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from bouncer.accounts.call_statistics import Call, CallNote
from bouncer.api.answers import BatchCreated
from bouncer.api.client import BouncerClient
from bouncer.api.request_gate import Ticket
from bouncer.errors import BouncerFlowsError
from tests.sandbox_process import SandboxHandle

__all__ = ["ADDRESSES", "LEAKED", "Caller", "Gate", "assert_silent", "running"]

ADDRESSES = [f"deliverable+{number}@sandbox.usebouncer.com" for number in range(20)]
LEAKED = "anna.secret@example.com"
"""An address that must not come up in any error."""


class Gate:
    """Lets all pass, and remembers what it was told."""

    def __init__(self) -> None:
        self.admitted: list[Call] = []
        self.answers = 0
        self.failures = 0
        self.unanswered_ones: list[bool] = []
        self.refusal: BouncerFlowsError | None = None
        self.notes: list[CallNote] = []

    async def admit(self, call: Call) -> Ticket:
        """Lets the request pass, unless a refusal is set."""
        if self.refusal is not None:
            raise self.refusal
        self.admitted.append(call)
        return Ticket(call, f"request {len(self.admitted)}", 0.0)

    async def renew(self, ticket: Ticket) -> None:
        """Has no tokens."""

    async def answered(self, ticket: Ticket) -> None:
        """Counts an answer that makes sense."""
        self.answers += 1

    async def unanswered(self, ticket: Ticket, *, failed: bool) -> None:
        """Remembers a request without one, and whether it failed."""
        self.unanswered_ones.append(failed)

    async def failed(self) -> None:
        """Counts a call that failed for good."""
        self.failures += 1

    def note(self, note: CallNote) -> None:
        """Remembers a request that was sent."""
        self.notes.append(note)

    async def store_notes(self) -> None:
        """Keeps them; there is no database."""


class Caller:
    """A client of the sandbox, and what its gate and its key source are."""

    def __init__(self, sandbox: SandboxHandle) -> None:
        self.sandbox = sandbox
        self.gate = Gate()
        self.key = sandbox.key
        self.sendings = 0
        self.refusals = 0

    async def source(self) -> str:
        """Gives the key as it is now."""
        return self.key

    @asynccontextmanager
    async def client(self, url: str | None = None) -> AsyncIterator[BouncerClient]:
        """Opens a client of the sandbox, or of another address."""
        async with BouncerClient(url or self.sandbox.url, self.source, self.gate) as client:
            yield client

    async def sending(self) -> None:
        """Counts the uploads that were about to be sent."""
        self.sendings += 1

    async def refused(self) -> None:
        """Counts the uploads that Bouncer certainly did not take."""
        self.refusals += 1

    async def upload(self, addresses: list[str] | None = None) -> BatchCreated:
        """Uploads a batch."""
        async with self.client() as client:
            return await client.create_batch(addresses or ADDRESSES, sending=self.sending, refused=self.refused)

    async def completed(self) -> str:
        """Uploads a batch and has the sandbox complete it."""
        batch_id = (await self.upload()).batch_id
        self.sandbox.post(f"/_sandbox/batches/{batch_id}/complete")
        self.gate.admitted.clear()
        self.gate.answers = 0
        return batch_id

    async def call(self, call: Call, batch_id: str) -> Any:  # noqa: PLR0911  # one return a call
        """Makes a call by its name, on a batch where it is about one."""
        async with self.client() as client:
            match call:
                case Call.CREATE:
                    return await client.create_batch([*ADDRESSES, LEAKED], sending=self.sending, refused=self.refused)
                case Call.STATUS:
                    return await client.batch_progress(batch_id)
                case Call.DOWNLOAD:
                    return await client.download(batch_id, len(ADDRESSES))
                case Call.FINISH:
                    return await client.finish(batch_id)
                case Call.DELETE:
                    return await client.delete_batch(batch_id)
                case Call.CREDITS:
                    return await client.credits()
                case Call.VERIFY:
                    return await client.verify(LEAKED)


async def running(client: BouncerClient, batch_id: str) -> None:
    """Waits until a batch has left Bouncer's queue."""
    while (await client.batch_progress(batch_id)).status == "queued":
        pass


def _chain(error: BaseException) -> Iterator[BaseException]:
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None:
            yield one
            todo += [one.__cause__, one.__context__]


def assert_silent(error: BaseException, key: str) -> None:
    """No error, nor any that it came of, has the key or an address in it."""
    for one in _chain(error):
        for words in (str(one), repr(one), repr(one.args)):
            assert key not in words
            assert "@" not in words
            assert "secret" not in words
