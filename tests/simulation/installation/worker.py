"""A worker: what flows and tasks do with a batch, from its claim to its verdicts, without Prefect."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress

from bouncer.accounts import state as account_state
from bouncer.api.request_gate import realtime_within_hour
from bouncer.batches import endings, ownership
from bouncer.batches.batches_in_flight import rooms_for
from bouncer.batches.load import LoadReport
from bouncer.batches.state import BatchTitle, BatchWork
from bouncer.batches.unsettled import unsettled
from bouncer.errors import (
    BatchLost,
    BouncerFlowsError,
    DatabaseUnavailable,
    KeyRefused,
    RateLimited,
    Stopped,
    UnexpectedAnswer,
)
from bouncer.queue import claiming, fair_order
from bouncer.queue.due_second_chances import take_second_chances
from bouncer.requests import counting
from bouncer.requests import progress as request_progress
from bouncer.steps import load, poll, realtime, upload
from bouncer.steps.batch_life import live
from bouncer.steps.older_database import pause_if_older
from bouncer.steps.ports import Slot as AnySlot
from bouncer.stopping import is_stopping, sleep_unless_stopping
from bouncer.upkeep import deletions
from tests.simulation.installation.ports import Access, Marks, Run, Slot, Slots
from tests.simulation.installation.work_left import WorkLeft
from tests.simulation.machine.processes import Process

__all__ = ["Worker"]


class Worker:
    """One process that claims contacts and takes batches to their end.

    Args:
        process: The process.
        accounts: Its accounts.
        slots: Those of each account.
        marks: The counts of uploads outside of the database.
        tick: Seconds between two looks for work.
        checks: Seconds between two looks at accounts and at what others left behind.
        checks_first: Whether it looks at accounts before anything else.
        work_left: Says what there is to be done.
        tell: Told of what happens.
    """

    def __init__(
        self,
        process: Process,
        accounts: list[Access],
        slots: dict[str, Slots],
        marks: Marks,
        *,
        tick: float,
        checks: float,
        checks_first: bool,
        work_left: Callable[[], WorkLeft],
        tell: Callable[[str], None],
    ) -> None:
        self._process = process
        self._accounts = {access.name: access for access in accounts}
        self._slots = slots
        self._tick = tick
        self._checks = checks
        self._work_left = work_left
        self._tell = tell
        self._run = Run(marks, tell)
        self._batches: dict[int, asyncio.Task[None]] = {}
        self._not_before: dict[int, float] = {}
        self._owned: dict[int, BatchWork] = {}
        self._leases: dict[str, Slots] = {}
        self._recovered = -checks
        self._checked = -checks if checks_first else asyncio.get_running_loop().time()
        self._numbers = 0

    async def work(self) -> None:
        """Works until the process is to stop."""
        heart = asyncio.create_task(self._beat())
        try:
            while not is_stopping():
                try:
                    busy = await self._look()
                except (BouncerFlowsError, Stopped) as error:
                    self._tell(f"could not look for work: {type(error).__name__}")
                    busy = False
                if not busy:
                    await self._wait()
            if self._batches:
                await asyncio.wait(list(self._batches.values()))
            self._forget_ended()
        finally:
            heart.cancel()

    async def _wait(self) -> None:
        # In short stretches, as who waits for runs does, so that a wish to stop is heard.
        loop = asyncio.get_running_loop()
        end = loop.time() + self._tick
        while loop.time() < end and not is_stopping() and not self._run.has_room:
            rest = min(1.0, end - loop.time())
            if not self._batches:
                await asyncio.sleep(rest)
            else:
                await asyncio.wait(list(self._batches.values()), timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            if self._forget_ended():
                return

    def _forget_ended(self) -> bool:
        ended = [id_ for id_, run in self._batches.items() if run.done()]
        for id_ in ended:
            self._batches.pop(id_).result()
            # One that could not go on is not taken up again at once.
            self._not_before[id_] = asyncio.get_running_loop().time() + self._tick
        return bool(ended)

    async def _beat(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(ownership.HEARTBEAT_SECONDS)
            beats += 1
            if self._owned:
                access = next(iter(self._accounts.values()))
                batches = list(self._owned.values())
                try:
                    await access.write(ownership.beat, [one.owner for one in batches], [one.id for one in batches])
                except DatabaseUnavailable:
                    self._tell("could not write its heartbeat")
            if beats % 4 == 0:
                for lease, slots in self._leases.items():
                    slots.renew(lease)

    async def _look(self) -> bool:
        self._run.has_room = False
        now = asyncio.get_running_loop().time()
        first = next(iter(self._accounts.values()))
        if now >= self._checked + self._checks:
            self._checked = now
            for access in self._accounts.values():
                await self._guarded(self._check, access)
        # What would find nothing is left out, by a look that costs little: most looks of a history find nothing.
        work = self._work_left()
        if now >= self._recovered + self._checks:
            self._recovered = now
            await self._recover(first, work)
        took_any = False
        if work.chances:
            await first.write(take_second_chances, 2_000)
        if work.contacts or work.batches - self._batches.keys():
            took_any = await self._take_work(claims=work.contacts)
        if work.requests:
            await self._follow(first)
        return took_any

    async def _guarded(self, work: Callable[[Access], Awaitable[None]], access: Access) -> None:
        try:
            await work(access)
        except (KeyRefused, BouncerFlowsError) as error:
            self._tell(f"account {access.name}: {type(error).__name__}")

    async def _check(self, access: Access) -> None:
        left: int | None = None
        with suppress(UnexpectedAnswer, RateLimited):
            left = await access.client.credits()
        if left is not None:
            await access.write(account_state.record_credits, access.name, left)
        await pause_if_older(access, self._run)
        state = await access.read(account_state.read_state, access.name)
        if state.waits_for_credits and left:
            await access.write(account_state.resume, access.name, only_kind=account_state.PauseKind.OUT_OF_CREDITS)

    async def _recover(self, first: Access, work: WorkLeft) -> None:
        if work.orphans:
            await first.write(endings.requeue_orphans)
        for access in self._accounts.values() if work.leases else ():
            if await access.read(ownership.has_leases_of_silent_owners, access.name):
                await sleep_unless_stopping(ownership.HEARTBEAT_SECONDS + 2)
            for lease in await access.write(ownership.forget_dead_leases, access.name):
                await self._slots[access.name].give_back(lease)

    async def _take_work(self, *, claims: bool) -> bool:
        first = next(iter(self._accounts.values()))
        names = list(self._accounts)
        found = await first.read(unsettled, names)
        states = await first.read(account_state.read_states, names)
        # As tasks.queue.work_left has it: where held batches take all places, nothing can be sent either.
        held = {name: sum(one.held_uploads for one in found if one.title.account == name) for name in names}
        able = {
            name
            for name, access in self._accounts.items()
            if states[name].paused_ts is None and held[name] < access.account.max_concurrent_batches
        }
        self._begin(
            one.title for one in found if one.is_left_behind and (one.goes_on_while_paused or one.title.account in able)
        )
        took_any = False
        for name, access in self._accounts.items():
            layer = access.layer
            others = [one for one in able if self._accounts[one].layer is layer]
            if name not in able:
                if others and any(one.is_unsent and one.title.account == name for one in found):
                    took_any |= await access.write(endings.return_unsent, name) > 0
                continue
            if claims:
                took_any |= await self._claim(access)
        return took_any

    async def _claim(self, access: Access) -> bool:
        account = access.account
        took_any = False
        small = account.realtime_max_addresses
        if small:
            small = min(small, 1_000 - await access.read(realtime_within_hour, access.name))
            if small > 0 and await access.read(fair_order.small_request_waits, access.layer, None, small):
                took_any = await self._make(access, 1, small)
        priority = await access.read(fair_order.highest_waiting, access.layer, None)
        if priority is None:
            return took_any
        rooms = await access.read(rooms_for, {access.name: account.places}, priority)
        if rooms[access.name] > 0:
            took_any |= await self._make(access, rooms[access.name], None)
        return took_any

    async def _make(self, access: Access, batches: int, at_once: int | None) -> bool:
        claimed = await access.write(
            claiming.claim,
            access.name,
            batches=batches,
            batch_size=access.account.batch_size,
            fresh_for=access.account.fresh_for,
            layer=access.layer,
            at_once=at_once,
            places=access.account.places,
        )
        self._begin(claimed.batches)
        return claimed.took_any

    def _begin(self, batches: Iterable[BatchTitle]) -> None:
        now = asyncio.get_running_loop().time()
        for batch in batches:
            if batch.id not in self._batches and self._not_before.get(batch.id, 0.0) <= now:
                self._batches[batch.id] = asyncio.create_task(self._verify(batch))

    async def _verify(self, title: BatchTitle) -> None:
        access = self._accounts[title.account]
        self._numbers += 1
        owner = f"{self._process.name}:{self._numbers}"
        try:
            batch = await access.write(ownership.take, title.id, owner)
            if batch is None:
                return
            self._owned[batch.id] = batch
            try:
                ending = await live(access, self._run, _Steps(self, access), batch)
                self._tell(f"batch {batch.id}: {ending.name}")
            finally:
                self._owned.pop(batch.id, None)
                await access.write(ownership.release, batch)
        except BouncerFlowsError as error:
            self._tell(f"batch {title.id}: {type(error).__name__}")

    async def _follow(self, access: Access) -> None:
        for request in await access.read(request_progress.under_way):
            completion = None
            if request.is_unannounced:
                completion = await access.read(request_progress.completion_of, request.request_id)
            elif not request.is_open or request.is_due:
                if not await access.write(request_progress.claim_count, request):
                    continue
                counted = await access.read(counting.count_contacts, request.request_id)
                if counted.open:
                    await access.write(request_progress.record_count, request.request_id, counted)
                else:
                    completion = await access.write(request_progress.complete, request.request_id, counted)
            if completion is not None:
                await access.write(request_progress.record_announced, completion)


class _Steps:
    # The steps of one batch, as tasks.batches.steps does them.

    def __init__(self, worker: Worker, access: Access) -> None:
        self._worker = worker
        self._access = access

    async def give_back_stale_lease(self, batch: BatchWork) -> None:
        if batch.stale_lease is not None:
            await self._worker._slots[self._access.name].give_back(batch.stale_lease)
            await self._access.write(ownership.record_lease, batch, None)

    def slot(self, batch: BatchWork) -> AbstractAsyncContextManager[AnySlot]:
        slots = self._worker._slots[self._access.name]
        return Slot(self._access, batch, slots, self._worker._leases).holding()

    async def upload(self, batch: BatchWork, slot: AnySlot) -> str:
        return await upload.upload(self._access, self._worker._run, batch, slot)

    async def poll(self, batch: BatchWork, bouncer_id: str) -> None:
        await poll.poll(self._access, self._worker._run, batch, bouncer_id)

    async def load(self, batch: BatchWork, bouncer_id: str) -> LoadReport:
        report = await load.load(self._access, self._worker._run, batch, bouncer_id)
        if self._access.account.delete_at_bouncer:
            await self._delete(batch, bouncer_id)
        return report

    async def verify_now(self, batch: BatchWork) -> int:
        return await realtime.verify_now(self._access, self._worker._run, batch)

    async def _delete(self, batch: BatchWork, bouncer_id: str) -> None:
        try:
            with suppress(BatchLost):
                await self._access.client.delete_batch(bouncer_id)
        except BouncerFlowsError:
            return
        await self._access.write(deletions.note_deleted, batch.id)
