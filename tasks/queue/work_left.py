"""WorkLeft on the work left, read from the rows themselves; cheap enough to be read all the time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from blocks.access import Access
from bouncer.accounts.state import AccountState, read_states
from bouncer.batches.admission import ALL_PLACES_HELD
from bouncer.batches.batches_in_flight import Places, rooms_for
from bouncer.batches.state import BatchTitle
from bouncer.batches.unsettled import Unsettled, unsettled
from bouncer.queue.fair_order import highest_waiting
from bouncer.storage.tables import Layer
from bouncer.storage.transactions import reading
from tasks.batches.subflows import Crews
from tasks.costs.budget import Budget

__all__ = ["WorkLeft", "find_work_left"]


@dataclass(frozen=True)
class WorkLeft:
    """WorkLeft on the work left.

    Attributes:
        left_behind: Batches without a living owner.
        turns: How many batches each account should claim now. Where several accounts of a layer have room, each takes
            one and looks again, so that all get their share of a queue that is soon empty.
        contacts_wait: Whether contacts wait in the queue that one of the accounts could take.
        others_work: Whether living runs elsewhere work on batches.
        paused: The accounts that may upload nothing, and why.
        unsent: Accounts that may upload nothing, but have batches that others of their layer could send.
    """

    left_behind: list[BatchTitle]
    turns: dict[str, int]
    contacts_wait: bool
    others_work: bool
    paused: dict[str, str]
    unsent: list[str]

    @property
    def only_contacts_wait(self) -> bool:
        """True if nothing is left but contacts in the queue, as under a cap that is reached."""
        return not (self.left_behind or self.others_work or self.unsent)

    @property
    def is_over(self) -> bool:
        """True if nothing is left that this run could do or should wait for."""
        return not (self.left_behind or self.others_work or self.contacts_wait or self.unsent)


async def find_work_left(
    accounts: Sequence[Access],
    request_id: int | None,
    *,
    crews: Crews | None = None,
    budget: Budget | None = None,
) -> WorkLeft:
    """Looks at what is left to do for one request, or for all.

    Args:
        accounts: The accounts, over one database.
        request_id: Only this request, or None for all.
        crews: The batches that this run works on or has given up on; they count against its own size. None where
            workers take the batches: all that are under way count, wherever they are.
        budget: What the run may commit; under a cap, batches that other runs made and never sent are left alone.
    """
    layers = {access.name: access.layer for access in accounts}
    places = {access.name: access.account.places for access in accounts}
    if crews is None:
        return await _look(accounts[0], layers, places, request_id, (), {}, ())
    left = await _look(accounts[0], layers, places, request_id, crews.known, crews.room, list(crews.refused))
    may_send = (budget or Budget()).may_send
    return replace(left, left_behind=[batch for batch in left.left_behind if may_send(batch)])


@reading
def _look(
    connection: Connection,
    layers: Mapping[str, Layer],
    places: Mapping[str, Places],
    request_id: int | None,
    known: Collection[int],
    most: Mapping[str, int],
    refused: Collection[str],
) -> WorkLeft:
    # As many statements with a hundred accounts as with one.
    found = unsettled(connection, list(layers))
    # Afterwards: contacts that come back from a batch meanwhile must be seen here or there.
    highest = {layer: highest_waiting(connection, layer, request_id) for layer in set(layers.values())}
    room = {name: min(its, most.get(name, its)) for name, its in _room(connection, layers, places, highest).items()}
    of_account = {name: [batch for batch in found if batch.title.account == name] for name in layers}
    states = read_states(connection, list(layers))
    paused = {
        name: why
        for name in layers
        if (why := _why_paused(states[name], of_account[name], places[name].most)) is not None
    }
    able = {name: layer for name, layer in layers.items() if name not in paused and name not in refused}
    waiting = {layer for layer in able.values() if highest[layer] is not None}
    ready = [name for name, layer in able.items() if layer in waiting and room[name] > 0]
    ours = set(known)
    left_behind = [
        batch.title
        for name in layers
        if name not in refused
        for batch in of_account[name]
        if batch.is_left_behind
        and (batch.goes_on_while_paused or name not in paused)
        and request_id in {None, batch.title.request_id}
        and batch.title.id not in ours
    ]
    return WorkLeft(
        left_behind=left_behind,
        turns={name: 1 if sum(layers[other] is layers[name] for other in ready) > 1 else room[name] for name in ready},
        contacts_wait=bool(waiting),
        others_work=any(batch.is_owned and batch.title.id not in ours for batch in found),
        paused=paused,
        unsent=[
            name
            for name, layer in layers.items()
            if name not in able and layer in able.values() and any(batch.is_unsent for batch in of_account[name])
        ],
    )


def _why_paused(state: AccountState, under_way: Sequence[Unsettled], places: int) -> str | None:
    if state.paused_ts is not None:
        return f"paused by {state.paused_by}: {state.paused_reason}"
    return ALL_PLACES_HELD if sum(batch.held_uploads for batch in under_way) >= places else None


def _room(
    connection: Connection,
    layers: Mapping[str, Layer],
    places: Mapping[str, Places],
    highest: Mapping[Layer, int | None],
) -> dict[str, int]:
    # As if the most urgent contacts were those that are claimed. Where a cap holds them back, the claim says so.
    room: dict[str, int] = {}
    for layer, priority in highest.items():
        of_layer = {name: places[name] for name in layers if layers[name] is layer}
        room |= rooms_for(connection, of_layer, priority)
    return room
