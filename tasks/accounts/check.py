"""Checks before anything is sent: limits that hold, a key that works, an account that is not paused."""

from collections.abc import Collection, Sequence

from prefect import get_client, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.access import Access
from blocks.limits_on_server import mend_limit
from bouncer.accounts import state as account_state
from bouncer.concurrency import await_all
from bouncer.errors import (
    BouncerFlowsError,
    BouncerUnavailable,
    KeyRefused,
    Paused,
    RateLimited,
    SettingRefused,
    UnexpectedAnswer,
)
from bouncer.steps.older_database import pause_if_older
from bouncer.storage.tables import Layer
from tasks.batches.run import PrefectRun
from tasks.running.events import announce
from tasks.running.server_faults import server_faults

__all__ = ["check_accounts", "check_limits"]


@task(name="check-limits", task_run_name="check limits", cache_policy=NO_CACHE, persist_result=False)
async def check_limits(opened: Sequence[Access]) -> None:
    """Makes sure that every limit exists, is active, and is set so that Bouncer's cannot be passed.

    One that is inactive, or set otherwise than the account's block says, is mended: what somebody changes in the block
    holds from the next run of ingest on. Warns of what is wrong with the Prefect server that holds them. Safe to run
    twice: then there is nothing to mend.

    Args:
        opened: The accounts whose limits they are.

    Raises:
        LimitsMissing: One is missing.
    """
    async with get_client() as client:
        limits = [(access.name, limit) for access in opened for limit in access.account.limits(access.name)]
        mended = await await_all(*(mend_limit(client, limit) for _, limit in limits))
        for (name, _), changes in zip(limits, mended, strict=True):
            for change in changes:
                get_run_logger().warning("%s, as block bouncer-account/%s says", change, name)
        for fault in await server_faults(client):
            get_run_logger().warning("%s", fault)


async def check_accounts(
    accounts: Sequence[Access], layers: Collection[Layer], *, paused_will_do: bool = False
) -> tuple[list[Access], dict[str, BouncerFlowsError]]:
    """Checks the accounts whose layer has work, and sets those aside that cannot send now.

    Args:
        accounts: The accounts that may work.
        layers: The layers for which contacts wait.
        paused_will_do: Whether there is something to do with paused accounts alone: what is at Bouncer is finished.

    Returns:
        The accounts to work with, paused ones too, whose batches in flight are to be finished; and the accounts that
        were set aside, with the reason.

    Raises:
        KeyRefused: No account can be used, and Bouncer refused the first account's key.
        BouncerUnavailable: No account can be used, and Bouncer was away when the first was checked.
        Paused: No account can be used, and the first is paused.
        SettingRefused: There is no account for the layer.
    """
    work_with: list[Access] = []
    cannot_send: dict[str, BouncerFlowsError] = {
        layer: SettingRefused(f"no account block serves the {layer} layer, for which contacts wait")
        for layer in sorted(layers)
        if layer not in {access.layer for access in accounts}
    }
    of_layers = [access for access in accounts if access.layer in layers]
    for access, error in zip(of_layers, await await_all(*map(_why_not, of_layers)), strict=True):
        if error is not None:
            cannot_send[access.name] = error
        if error is None or isinstance(error, Paused):
            work_with.append(access)
    if not (paused_will_do and work_with) and not any(access.name not in cannot_send for access in work_with):
        raise next(iter(cannot_send.values()))
    for name, reason in cannot_send.items():
        get_run_logger().warning("account %s cannot be used now: %s", name, reason)
    return work_with, cannot_send


async def _why_not(access: Access) -> KeyRefused | BouncerUnavailable | Paused | None:
    try:
        await _check_account(access)
    except (KeyRefused, BouncerUnavailable, Paused) as error:
        return error
    return None


@task(name="check-account", task_run_name="check account", cache_policy=NO_CACHE, persist_result=False)
async def _check_account(access: Access) -> int | None:
    """Asks Bouncer for the account's credits, which also shows that the key works.

    An account that was paused because it had no credits is resumed once it has some. One whose contacts database was
    put back to an older state is paused. Safe to run twice.

    Returns:
        The credits, or None where Bouncer does not tell.

    Raises:
        KeyRefused: The key is wrong.
        BouncerUnavailable: Bouncer cannot be reached at all.
        Paused: The account is paused.
    """
    credits_left: int | None = None
    try:
        credits_left = await access.client.credits()
    except (UnexpectedAnswer, RateLimited) as error:
        get_run_logger().warning("%s; going on without knowing the credits", error)
    if credits_left is not None:
        await account_state.record_credits(access, access.name, credits_left)
    await pause_if_older(access, PrefectRun())
    state = await account_state.read_state(access, access.name)
    if state.waits_for_credits and credits_left:
        await account_state.resume(access, access.name, only_kind=account_state.PauseKind.OUT_OF_CREDITS)
        announce("credits.restored", account=access.name, credits=credits_left)
        get_run_logger().info("there are credits again (%d): uploads go on", credits_left)
    elif state.waits_for_credits:
        raise Paused("the account has no credits left; top it up at app.usebouncer.com, then run ingest again")
    elif state.paused_ts is not None:
        raise Paused(f"paused by {state.paused_by}: {state.paused_reason}; bouncer-flows resume lets it go on")
    return credits_left
