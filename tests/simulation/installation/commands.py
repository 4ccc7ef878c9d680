"""The commands that people type: the product's own code in a process that can die, as workers can."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from bouncer.batches import transitions
from bouncer.erasure.erasing import erase_person
from bouncer.errors import BouncerFlowsError
from bouncer.files import importing
from bouncer.repeats.deep_pass import Risk, pick_some
from bouncer.requests import cancelling
from bouncer.requests.requeueing import requeue
from bouncer.upkeep import retention
from tests.simulation.installation.outages import DATABASE
from tests.simulation.installation.surroundings import Surroundings, chosen
from tests.simulation.judge import effects
from tests.simulation.machine.processes import Killed, Process, living_in
from tests.simulation.plan import Deed

__all__ = ["Commands"]

_AGAIN_SECONDS = 10.0

# Lists are short here, and are to be queued in several transactions all the same.
importing._CHUNK_ROWS = 2


class Commands:
    """Runs commands, each again where it was killed.

    Args:
        around: What they can reach.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def requeue(self, _deed: Deed) -> bool:
        """Requeues all that failed."""
        return await self._requeue("requeue", None)

    async def requeue_request(self, deed: Deed) -> bool:
        """Requeues what failed of a request, cancelled or not."""
        request = self._around.request(deed.share)
        return await self._requeue(f"requeue of request {request}", request)

    async def _requeue(self, name: str, request: int | None) -> bool:
        raw = self._around.raw
        failed, letters = effects.failed_contacts(raw, request), effects.letters(raw, request)
        done = await self._as_command(
            name, lambda _: asyncio.to_thread(requeue, self._around.engine, request_id=request)
        )
        if done and (left := effects.still_failed(raw, failed)):
            self._around.broken(f"contacts {left} had failed, and are not requeued")
        if done and letters & effects.letters(raw, request):
            self._around.broken("a dead letter is not reviewed after a requeue")
        return bool(failed)

    async def requeue_held(self, _deed: Deed) -> bool:
        """Lets held batches be sent again."""
        held = effects.held_batches(self._around.raw)
        done = await self._as_command(
            "requeue --held", lambda _: asyncio.to_thread(requeue, self._around.engine, held=True)
        )
        if done and (left := effects.still_held(self._around.raw, held)):
            self._around.broken(f"batches {left} are held still, though a person lets them be sent again")
        return bool(held)

    async def cancel(self, deed: Deed) -> bool:
        """Cancels a request."""
        request = self._around.request(deed.share)
        open_ = "SELECT EXISTS (SELECT 1 FROM Bouncer_Queue WHERE request_id = ? AND status IN ('queued', 'assigned'))"
        found = bool(self._around.raw.execute(open_, (request,)).fetchone()[0])
        waiting: set[int] = set()

        async def cancel(process: Process) -> None:
            accounts = {name: self._around.open_access(name, process) for name in self._around.settings}
            access = accounts["default"]
            await access.write(cancelling.mark, request, by="a person", reason="no need")
            await access.write(cancelling.withdraw_unsent, request)
            # Nobody claims these any more. What runs give back later, the flow withdraws once they have ended.
            waiting.clear()
            waiting.update(effects.waiting_contacts(self._around.raw, request))
            while await access.write(cancelling.withdraw_waiting, request):
                pass
            for batch in await access.read(cancelling.to_finish, request):
                try:
                    await accounts[batch.account].client.finish(batch.bouncer_id)
                except BouncerFlowsError as error:
                    self._around.tell(f"batch {batch.id} is not finished: {type(error).__name__}")
                    continue
                await access.write(cancelling.note_finish_requested, batch.id)

        if await self._as_command(f"cancel of request {request}", cancel):
            self._around.judge.look_at_cancelled(request, waiting)
        return found

    async def import_file(self, deed: Deed) -> bool:
        """Queues the contacts of a file."""
        before = self._around.queued()
        wanted = {address.lower() for address in deed.addresses if "@" in address}
        self._around.want(wanted)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "list.csv")
            _write_list(file, deed.addresses)

            async def import_file(_: Process) -> None:
                await asyncio.to_thread(
                    importing.import_contacts, self._around.engine, file, request_name="a list", user="me@example.com"
                )

            done = await self._as_command(f"import of {' '.join(deed.addresses)}", import_file)
        self._around.deeds.imported = self._around.queued()
        cancelled = "SELECT EXISTS (SELECT 1 FROM Requests WHERE name = 'a list' AND bouncer_cancelled_ts IS NOT NULL)"
        if not done and not self._around.raw.execute(cancelled).fetchone()[0]:
            self._around.broken("an import does not come to its end, however often a person repeats it")
        missing = wanted - self._addresses_of("a list") - self._around.deeds.touched
        if done and missing:
            self._around.broken(f"{', '.join(sorted(missing))} was imported and is not queued")
        if done and self._around.deeds.imported - before > len(wanted):
            self._around.broken(
                f"a file has {len(wanted)} addresses, and {self._around.deeds.imported - before} were queued"
            )
        return self._around.deeds.imported > before

    def _addresses_of(self, request: str) -> set[str]:
        queued = (
            "SELECT lower(email) FROM Contacts_Global c JOIN Bouncer_Queue q USING (global_id)"
            " JOIN Requests r USING (request_id) WHERE r.name = ?"
        )
        return {email for (email,) in self._around.raw.execute(queued, (request,))}

    async def erase(self, deed: Deed) -> bool:
        """Erases everything about an address."""
        rows = self._around.raw.execute(
            "SELECT email FROM Contacts_Global WHERE email LIKE '%@%' ORDER BY 1"
        ).fetchall()
        if not rows:
            return False
        (email,) = chosen(rows, deed.share)
        self._around.deeds.touched.add(email.lower())
        of_it = (
            "SELECT request_id FROM Bouncer_Queue q JOIN Contacts_Global c ON c.global_id = q.global_id"
            " WHERE lower(email) = ?"
        )
        self._around.deeds.thinned.update(request for (request,) in self._around.raw.execute(of_it, (email.lower(),)))
        done = await self._as_command(
            f"erase of {email}", lambda _: asyncio.to_thread(erase_person, self._around.engine, email, exports=())
        )
        if done:
            self._around.judge.note_erased(email.lower())
        self._around.deeds.imported = self._around.queued()
        return True

    async def look_deeper(self, _deed: Deed) -> bool:
        """Queues the risky contacts of the first request for the deep pass."""
        if "deep" not in self._around.settings:
            return False
        before = self._around.queued()
        request = int(self._around.raw.execute("SELECT min(request_id) FROM Requests").fetchone()[0])

        async def pick(process: Process) -> None:
            access = self._around.open_access("deep", process)
            after: int | None = 0
            while after is not None:
                stretch = await access.write(pick_some, request, Risk(), after=after, fresh_days=30.0, again=False)
                after = stretch.last

        await self._as_command(f"verify-risky of request {request}", pick)
        # A second look is paid for once more.
        deeper = "SELECT email FROM Contacts_Global c JOIN Bouncer_Queue q USING (global_id) WHERE q.layer = 'deep'"
        self._around.deeds.touched.update(str(email).lower() for (email,) in self._around.raw.execute(deeper))
        self._around.deeds.imported = self._around.queued()
        return self._around.deeds.imported > before

    async def tidy(self, _deed: Deed) -> bool:
        """Closes batches whose contacts are gone, as housekeeping does."""
        closed: set[int] = set()

        async def tidy(process: Process) -> None:
            for name in self._around.settings:
                access = self._around.open_access(name, process)
                for batch, bouncer_id in await access.read(retention.find_empty_batches, name):
                    if bouncer_id is not None:
                        with suppress(BouncerFlowsError):
                            await access.client.finish(bouncer_id)
                    await access.write(transitions.close_empty, batch)
                    closed.add(batch)

        await self._as_command("housekeeping", tidy)
        return bool(closed)

    async def _as_command(self, name: str, work: Callable[[Process], Awaitable[object]]) -> bool:
        # A person who sees a command killed types it again.
        for again in range(5):
            # Who is told that the database is away types it again when it is there.
            await self._around.outages.over(DATABASE)
            process = Process(f"{name}{' again' if again else ''}")
            self._around.tell(f"a person runs {process.name}")
            with living_in(process):
                running = asyncio.ensure_future(_awaited(work, process))
            await asyncio.wait([running])
            await process.bury()
            error = None if running.cancelled() else running.exception()
            if error is None and not running.cancelled():
                return True
            if isinstance(error, Exception) and not isinstance(error, BouncerFlowsError):
                raise error
            if error is not None and not isinstance(error, Killed):
                self._around.tell(f"{process.name} ends with {type(error).__name__}")
            await asyncio.sleep(_AGAIN_SECONDS)
        return False


def _write_list(file: Path, addresses: tuple[str, ...]) -> None:
    file.write_text("\n".join(("email", *addresses)))


async def _awaited(work: Callable[[Process], Awaitable[object]], process: Process) -> None:
    await work(process)
