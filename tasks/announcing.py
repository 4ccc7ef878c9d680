"""Events that automations can act on, all under one name space."""

from prefect.events import emit_event

__all__ = ["announce"]


def announce(what: str, *, account: str, **details: str | float | bool | None) -> None:
    """Emits the Prefect event ``bouncer-flows.WHAT`` about an account.

    Args:
        what: Such as ``upload.lost`` or ``credits.exhausted``.
        account: The name of the account block.
        **details: The payload; never a key, never an address.
    """
    emit_event(
        event=f"bouncer-flows.{what}",
        resource={"prefect.resource.id": f"bouncer-flows.account.{account}", "prefect.resource.name": account},
        payload=dict(details),
    )
