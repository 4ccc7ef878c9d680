"""Events that automations can act on, all under one name space."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from prefect import get_client
from prefect.events import emit_event
from prefect.events.schemas.events import Event, Resource

from bouncer.installation import here
from bouncer.safe_text import in_event

__all__ = ["EVENTS", "REQUEST_COMPLETED", "announce", "announce_of_request", "announce_once"]

EVENTS = {
    "alert.began": "a figure went beyond its threshold; once, however long it stays there",
    "alert.ended": "it has been on the right side again for a while",
    "batch.failed": "Bouncer refused a batch for good; its contacts failed, and it has a dead letter",
    "batch.lost": "Bouncer does not know a batch any more; its contacts are requeued",
    "batch.odd": "results without an address, or addresses without a result, came with a batch",
    "credits.exhausted": "Bouncer answered 402; uploads pause, and the contacts are requeued",
    "credits.restored": "there are credits again; uploads go on",
    "request.completed": "no contact of a request waits or is in flight any more; sent once, until it is opened again",
    "upload.found": "an upload whose answer was lost was found by its callback; nothing is paid twice",
    "upload.lost": "the answer to an upload was lost, so that the batch may be paid twice",
    "uploads.paused": "somebody has paused uploads in the UI, or ingest has, after an older backup was restored",
    "uploads.resumed": "somebody lets uploads go on in the UI",
}
"""Occasion of each event; docs/reference/events.md is made from this."""

REQUEST_COMPLETED = "bouncer-flows.request.completed"
"""The event that tells of a complete request; its payload is the request's id and how many contacts ended how."""


def announce(what: str, *, account: str, **details: str | float | bool | None) -> None:
    """Emits the Prefect event ``bouncer-flows.WHAT`` about an account.

    Args:
        what: One of ``EVENTS``.
        account: The name of the account block.
        **details: The payload; never a key, never an address.
    """
    emit_event(event=f"bouncer-flows.{what}", resource=_resource(account), payload=_payload(details))


async def announce_once(what: str, *, account: str, once: str, **details: str | float | bool | None) -> None:
    """Emits an event like ``announce``, and comes back when the server has it.

    Announced again, it is the same event: the server keeps one of each id.

    Args:
        what: Such as ``alert.began``.
        account: The name of the account block.
        once: What makes it this event and no other.
        **details: The payload; never a key, never an address.

    Raises:
        httpx.HTTPError: The Prefect server does not take it.
    """
    await _send(what, _resource(account), f"{here().events}/{account}/{what}/{once}", details)


async def announce_of_request(what: str, *, request_id: int, once: str, **details: str | float | bool | None) -> None:
    """Emits an event about a request, once like ``announce_once``; the request's id is part of the payload.

    Args:
        what: Such as ``request.completed``.
        request_id: The request.
        once: What makes it this event and no other.
        **details: The rest of the payload; never a key, never an address.

    Raises:
        httpx.HTTPError: The Prefect server does not take it.
    """
    resource = {
        "prefect.resource.id": f"{here().events}.request.{request_id}",
        "prefect.resource.name": f"request {request_id}",
    }
    id_ = f"{here().events}/request/{request_id}/{what}/{once}"
    await _send(what, resource, id_, {"request_id": request_id, **details})


async def _send(what: str, resource: dict[str, str], id_: str, payload: dict[str, Any]) -> None:
    event = Event(
        id=uuid5(NAMESPACE_URL, id_),
        occurred=datetime.now(UTC),
        event=f"bouncer-flows.{what}",
        resource=Resource(resource),
        payload=_payload(payload),
    )
    async with get_client() as client:
        await client.request("POST", "/events", json=[event.model_dump(mode="json")])


def _payload(details: Mapping[str, Any]) -> dict[str, Any]:
    return {name: in_event(value) if isinstance(value, str) else value for name, value in details.items()}


def _resource(account: str) -> dict[str, str]:
    return {"prefect.resource.id": f"{here().events}.account.{account}", "prefect.resource.name": account}
