"""Troubles that keep status from saying that all is well: work that waits in vain, and calls that fail.

Alerts wait until a figure has crossed its threshold, over enough calls or for long enough; who looks now sees these.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from bouncer.accounts.call_statistics import count_calls, figures_of
from bouncer.accounts.state import AccountState
from bouncer.credits.caps import RequestCap
from bouncer.monitoring.thresholds import Thresholds
from bouncer.plurals import counted
from bouncer.requests.counting import BatchCounts, Progress

__all__ = ["find_troubles"]

_FEWEST_ERRORS = 2
"""A single call that failed was most likely repeated with success."""


def find_troubles(
    connection: Connection,
    contacts: Progress,
    batches: BatchCounts,
    accounts: Sequence[AccountState],
    caps: Sequence[RequestCap],
) -> list[str]:
    """Names what waits in vain, and which account's calls fail, each in a few words.

    Args:
        connection: Any.
        contacts: All contacts by where they stand.
        batches: All batches.
        accounts: The accounts.
        caps: The open requests with a cap.
    """
    found = []
    for account in accounts:
        of = "" if account.account == "default" else f" of {account.account}"
        if contacts.queued and account.paused_ts is not None:
            found.append(f"{counted(contacts.queued, 'contact waits', 'contacts wait')} while uploads{of} are paused")
        if contacts.open and account.breaker_state != "closed":
            found.append(f"the circuit breaker{of} is {account.breaker_state}")
        found += _of_calls(connection, account.account, of)
    found += [f"request {cap.request_id} has reached its cap" for cap in caps if cap.is_reached]
    if batches.held:
        found.append(f"{counted(batches.held, 'batch', 'batches')} held for a person")
    return found


def _of_calls(connection: Connection, account: str, of: str) -> list[str]:
    plan = Thresholds()
    calls = figures_of(count_calls(connection, account, plan.window_minutes))
    if sum(calls.errors.values()) < _FEWEST_ERRORS or 100 * calls.error_share <= plan.error_rate_percent:
        return []
    return [f"{calls.error_share:.0%} of {counted(calls.total, 'call')}{of} failed"]
