"""Events that automations can act on, all under one name space."""

from prefect.events import emit_event

__all__ = ["EVENTS", "announce"]

EVENTS = {
    "batch.failed": "Bouncer refused a batch for good; its contacts failed, and it has a dead letter",
    "batch.lost": "Bouncer does not know a batch any more; its contacts are queued again",
    "batch.odd": "results without an address, or addresses without a result, came with a batch",
    "credits.exhausted": "Bouncer answered 402; uploads pause, and the contacts are queued again",
    "credits.restored": "there are credits again; uploads go on",
    "upload.found": "an upload whose answer was lost was found by its callback; nothing is paid twice",
    "upload.lost": "the answer to an upload was lost, so that the batch may be paid twice",
}
"""When each event is sent; docs/reference/events.md is made from this."""


def announce(what: str, *, account: str, **details: str | float | bool | None) -> None:
    """Emits the Prefect event ``bouncer-flows.WHAT`` about an account.

    Args:
        what: One of ``EVENTS``.
        account: The name of the account block.
        **details: The payload; never a key, never an address.
    """
    emit_event(
        event=f"bouncer-flows.{what}",
        resource={"prefect.resource.id": f"bouncer-flows.account.{account}", "prefect.resource.name": account},
        payload=dict(details),
    )
