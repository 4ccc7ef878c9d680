"""Faults on demand: what goes wrong, with which calls, how often and how likely."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

__all__ = ["Fault", "FaultPlan", "Operation"]

Operation = Literal["create", "status", "download", "finish", "delete", "credits", "verify"]

_Kind = Literal[
    "status",
    "refuse",
    "lost_answer",
    "cut_body",
    "malformed",
    "slow",
    "slow_body",
    "stuck",
    "forget",
    "late",
    "garbled",
    "removed",
    "not_completed",
    "finish_refused",
]
_ON_CREATED_BATCHES = frozenset({"stuck", "forget", "late", "garbled", "removed"})
_OF_ONE_OPERATION: dict[str, Operation] = {"not_completed": "download", "finish_refused": "finish"}


class Fault(BaseModel):
    """Something that is to go wrong.

    The kinds are: ``status`` answers an error; ``refuse`` closes the connection before the request is processed;
    ``lost_answer`` processes the request, then closes the connection; ``cut_body`` closes it in the middle of the
    body; ``malformed`` answers 200 with half a JSON text; ``slow`` waits before it processes; ``slow_body``
    trickles the body; ``not_completed`` answers a download that the batch is not completed; ``finish_refused`` answers
    a finish that the batch has to be running, though it is. Of batches that are created, ``stuck`` stops their progress
    at a fraction, ``forget`` loses them with their credits given back, ``late`` answers 404 for their first seconds,
    ``garbled`` answers every download of them with half a JSON text, ``removed`` answers it with 405 for good.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: _Kind
    operation: Operation | Literal["any"] = "any"
    times: PositiveInt | None = 1
    """Number of times it fires; None is for ever."""
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    after: NonNegativeInt = 0
    """Number of calls that it could hit, but lets pass first."""
    code: Annotated[int, Field(ge=200, le=599)] | None = None
    """HTTP status of ``status`` (else 503), ``not_completed`` (405, or 400), ``finish_refused`` (200, or 400)."""
    retry_after: NonNegativeInt | str | None = None
    """The Retry-After header of ``status``: seconds, or any text."""
    html: bool = False
    """``status`` answers the page of a gateway."""
    message: str | None = None
    """The message of ``status``."""
    in_200: bool = False
    """``status`` is sent as 200; that it is an error stands in its body only."""
    processed: bool = False
    """``status`` processes the request before it answers the error."""
    seconds: NonNegativeFloat = 1.0
    """Seconds that ``slow`` waits, ``slow_body`` takes, ``late`` hides the batch."""
    fraction: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the body that ``cut_body`` sends, and of the batch at which ``stuck`` stops."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind in _ON_CREATED_BATCHES and self.operation not in {"any", "create"}:
            raise ValueError(f"{self.kind} happens to batches that are created; leave operation out")
        if self.operation not in {"any", _OF_ONE_OPERATION.get(self.kind, self.operation)}:
            raise ValueError(f"{self.kind} happens to one operation only; leave operation out")
        return self

    def concerns(self, operation: Operation) -> bool:
        """Tells whether a call of this operation can meet it."""
        return _OF_ONE_OPERATION.get(self.kind, self.operation) in {"any", operation}


@dataclass(slots=True)
class _Armed:
    fault: Fault
    matched: int = 0
    fired: int = 0

    def fires(self, draws: random.Random) -> bool:
        if self.fault.times is not None and self.fired >= self.fault.times:
            return False
        self.matched += 1
        if self.matched <= self.fault.after or draws.random() >= self.fault.probability:
            return False
        self.fired += 1
        return True


class FaultPlan:
    """The faults that were asked for; the first that fires is the one that happens.

    Args:
        seed: Decides which calls a fault with a probability hits.
    """

    def __init__(self, seed: int) -> None:
        self._draws = random.Random(seed)  # noqa: S311  # repeatable on purpose, and no secret hangs on it
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Arms a fault."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        """Disarms all faults."""
        self._armed.clear()

    def for_request(self, operation: Operation) -> Fault | None:
        """The fault that a request meets, counted as fired."""
        return self._first(
            armed
            for armed in self._armed
            if armed.fault.kind not in _ON_CREATED_BATCHES and armed.fault.concerns(operation)
        )

    def for_batch(self) -> Fault | None:
        """The fault that a batch meets which is being created, counted as fired."""
        return self._first(armed for armed in self._armed if armed.fault.kind in _ON_CREATED_BATCHES)

    def listing(self) -> list[dict[str, Any]]:
        """Every fault with how many calls it could have hit, and how often it fired."""
        return [{**armed.fault.model_dump(), "matched": armed.matched, "fired": armed.fired} for armed in self._armed]

    def _first(self, candidates: Iterable[_Armed]) -> Fault | None:
        return next((armed.fault for armed in candidates if armed.fires(self._draws)), None)
