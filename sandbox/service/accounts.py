"""An account with the service: its credits, and what it has asked in the last minute."""

from dataclasses import dataclass, field

from sandbox.service.windows import SlidingWindow

__all__ = ["Account"]


@dataclass(eq=False, slots=True)
class Account:
    """An account; several keys can open one.

    Attributes:
        credits: Credits that are not charged, held ones included.
        held: Credits set aside for batches in flight.
        charged: Credits charged so far.
        deep: Whether it verifies deeply: most addresses of domains that accept all turn out to be there or not.
    """

    credits: int
    held: int = 0
    charged: int = 0
    deep: bool = False
    requests: SlidingWindow = field(default_factory=SlidingWindow)
    uploads: SlidingWindow = field(default_factory=SlidingWindow)
    realtime: SlidingWindow = field(default_factory=SlidingWindow)
    credit_calls: SlidingWindow = field(default_factory=SlidingWindow)

    @property
    def left(self) -> int:
        """Credits that a new batch can use."""
        return self.credits - self.held
