"""An account with the service: its credits, and what it has asked in the last minute."""

from dataclasses import dataclass, field

from sandbox.service.line import Line
from sandbox.service.windows import SlidingWindow

__all__ = ["Account"]


@dataclass(eq=False, slots=True)
class Account:
    """An account; several keys can open one.

    Attributes:
        credits: Credits that are not charged, held ones included.
        held: Credits set aside for batches in flight.
        charged: Credits charged so far.
        line: Its batches that wait and run, and lists of somebody else between them.
        deep: Whether it verifies deeply: most addresses of domains that accept all turn out to be there or not.
    """

    credits: int
    held: int = 0
    charged: int = 0
    deep: bool = False
    line: Line = field(default_factory=Line)
    requests: SlidingWindow = field(default_factory=SlidingWindow)
    uploads: SlidingWindow = field(default_factory=SlidingWindow)
    realtime: SlidingWindow = field(default_factory=SlidingWindow)
    realtime_hour: SlidingWindow = field(default_factory=lambda: SlidingWindow(3600.0))
    credit_calls: SlidingWindow = field(default_factory=SlidingWindow)

    @property
    def left(self) -> int:
        """Credits that a new batch can use."""
        return self.credits - self.held
