"""The verdicts that Bouncer gives, once for tables, flows and commands."""

from typing import Literal, get_args

__all__ = ["CLEAR_STATUSES", "DoubtfulStatus", "Status"]

_ClearStatus = Literal["deliverable", "undeliverable"]
DoubtfulStatus = Literal["risky", "unknown"]
Status = Literal[_ClearStatus, DoubtfulStatus]

CLEAR_STATUSES: tuple[str, ...] = get_args(_ClearStatus)
"""Verdicts that leave no doubt, and are never bought again."""
