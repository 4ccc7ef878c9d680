"""Freshness: for how long a verdict stays good."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from bouncer.storage.tables import Batch, Contact, Layer

__all__ = ["FreshFor"]


@dataclass(frozen=True)
class FreshFor:
    """For how many days a verdict stays good.

    Attributes:
        days: For verdicts in general; 0 means that every address is verified anew.
        by_status: Shorter times for some: a risky address changes sooner, an unknown one was never verified.
    """

    days: float = 90
    by_status: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({"risky": 30, "unknown": 0}))

    def covers(
        self, status: InstrumentedAttribute[Any], verified: InstrumentedAttribute[Any], now: datetime
    ) -> ColumnElement[bool]:
        """The condition under which a verdict is still good.

        Args:
            status: The column of the verdict.
            verified: The column of its moment.
            now: The present moment by the database's clock.
        """
        short = {name: min(days, self.days) for name, days in self.by_status.items()}
        return or_(
            and_(status.not_in(list(short)), verified >= now - timedelta(days=self.days)),
            *(and_(status == name, verified >= now - timedelta(days=days)) for name, days in short.items() if days > 0),
        )

    def keeps_deep_verdict(self, now: datetime) -> ColumnElement[bool]:
        """The condition on a contact whose verdict that counts is of the deep pass and still good.

        Args:
            now: The present moment by the database's clock.
        """
        if self.days <= 0:
            return false()
        its_layer = select(Batch.layer).where(Batch.id == Contact.bouncer_batch_id).correlate(Contact).scalar_subquery()
        return and_(
            Contact.bouncer_deep_ts.is_not(None),
            self.covers(Contact.bouncer_status, Contact.bouncer_verified_ts, now),
            its_layer == Layer.DEEP,
        )
