"""Bouncer's answers, typed; tolerant of missing, null and unknown fields, as its documentation warns.

Source: https://docs.usebouncer.com (batch-create, batch-status, batch-results, credits).
"""

import math
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

__all__ = [
    "COMPLETED",
    "BatchCreated",
    "BatchProgress",
    "Credits",
    "Granted",
    "TooManyVerdicts",
    "Verdict",
    "VerdictList",
    "verdict_in",
    "verdicts_in",
]

PROCESSING = "processing"
COMPLETED = "completed"
"""The one status that says that results can be downloaded; any other, known or not, means wait."""


def _text(value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return str(value)


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and abs(number) < 2**31 else None


def _amount(value: object) -> int | None:
    number = _integer(value)
    # Less than nothing is no figure: taken for one, it would make room below every cap.
    return number if number is not None and number >= 0 else None


def _count(value: object) -> int:
    return max(_integer(value) or 0, 0)


def _credits(value: object) -> int:
    # More than a column holds are plenty: taken for a count, three billion would be none.
    number = float(value) if isinstance(value, float | str) and _is_number(value) else value
    if isinstance(number, int | float) and not isinstance(number, bool) and number >= 2**31:
        return 2**31 - 1
    return _count(value)


def _is_number(value: float | str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


Text = Annotated[str | None, BeforeValidator(_text)]
Integer = Annotated[int | None, BeforeValidator(_integer)]
Amount = Annotated[int | None, BeforeValidator(_amount)]
Count = Annotated[int, BeforeValidator(_count)]
Details = Annotated[dict[str, Any] | None, BeforeValidator(_object)]
_Small = Annotated[int | None, Field(gt=-(2**31), lt=2**31)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class TooManyVerdicts(Exception):
    """A download has far more elements than addresses were sent."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class BatchCreated(_Answer):
    """The answer to an upload.

    Attributes:
        batch_id: Bouncer's id of the batch.
        duplicates: Addresses that Bouncer counted twice and does not charge.
    """

    # It is stored, and becomes a part of the addresses of later requests.
    batch_id: Annotated[str, BeforeValidator(_text)] = Field(
        # Bouncer called it requestId until 2024.
        validation_alias=AliasChoices("batchId", "batch_id", "requestId", "requestid"),
        pattern=r"^[A-Za-z0-9][!-~]{0,49}$",
    )
    duplicates: Count = 0


class BatchProgress(_Answer):
    """Progress of a batch at Bouncer.

    Attributes:
        status: ``queued``, ``processing`` or ``completed``; others may come and mean "not yet".
        processed: Addresses that are verified, or None where Bouncer did not tell.
        credits: What the batch cost, once it is complete.
        quantity: How many addresses the batch has, or None where Bouncer did not tell.
        created: When Bouncer took it, by Bouncer's clock, or None where it did not tell.
        started: When it began with it, by Bouncer's clock; None while it is queued, too.
        completed: When it was done with it, by Bouncer's clock; None before that, too.
    """

    status: Annotated[str, BeforeValidator(lambda value: str(value).strip().lower())]
    processed: Amount = None
    credits: Amount = None
    quantity: Amount = None
    created: Moment = None
    started: Moment = None
    completed: Moment = None

    @property
    def is_running(self) -> bool:
        """True once Bouncer has begun with it: its turn has come, or addresses of it are verified."""
        return self.status == PROCESSING or self.started is not None or bool(self.processed)

    @property
    def waited(self) -> timedelta | None:
        """The time that it was queued at Bouncer, or None where Bouncer does not tell, or it still is."""
        return None if self.created is None or self.started is None else self.started - self.created

    @property
    def took(self) -> timedelta | None:
        """The time from its upload to its completion, or None where Bouncer does not tell, or it is not completed."""
        return None if self.created is None or self.completed is None else self.completed - self.created

    @property
    def is_completed(self) -> bool:
        """True once the results can be downloaded."""
        return self.status == COMPLETED


class Granted(_Answer):
    """The answer to a finish or a deletion: an object, with nothing in it that anybody needs."""


class Credits(_Answer):
    """Credits that the account has left."""

    credits: Annotated[int, BeforeValidator(_credits)]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", populate_by_name=True))
class Verdict:
    """Bouncer's verdict on one address; anything may be missing, for one odd verdict must not spoil a whole download.

    Attributes:
        email: The address as Bouncer gives it back, which may differ in case from what was sent; empty where there is
            none.
        status: ``deliverable``, ``risky``, ``undeliverable``, ``unknown``, or what else came; empty for none.
        reason: Why, in one word; the three are always there, an answer without them is no verdict.
        domain: ``name``, ``acceptAll``, ``disposable``, ``free``.
        account: ``role``, ``disabled``, ``fullMailbox``.
        dns: ``type``, ``record``.
        score: 0 to 100.
        toxicity: 0 to 5.
        retry_after: When a grey-listed address may be retried.
        did_you_mean: A likely correction of the address.
    """

    email: Annotated[str, BeforeValidator(lambda value: _text(value) or "")] = ""
    status: Annotated[str, BeforeValidator(lambda value: _text(value) or "")] = ""
    reason: Text = None
    domain: Details = None
    account: Details = None
    dns: Details = None
    provider: Text = None
    score: Integer = None
    toxic: Text = None
    toxicity: Integer = None
    retry_after: Moment = Field(default=None, alias="retryAfter")
    did_you_mean: Text = Field(default=None, alias="didYouMean")

    @property
    def is_whole(self) -> bool:
        """Tells whether it is a verdict: on an address, with a status and a reason."""
        return bool(self.email and self.status and self.reason)


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", strict=True))
class _Documented(Verdict):
    # A verdict whose fields are of the documented types needs no Python code to be read: in less than half the time,
    # and with two fifths of the memory, which counts where a batch has 100,000 of them.
    email: str
    status: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    domain: dict[str, Any] | None = None
    account: dict[str, Any] | None = None
    dns: dict[str, Any] | None = None
    provider: str | None = None
    score: _Small = None
    toxic: str | None = None
    toxicity: _Small = None
    did_you_mean: str | None = Field(default=None, alias="didYouMean")


_Tolerant = Annotated[Verdict, BeforeValidator(lambda value: _object(value) or {})]

# Escapes in the order in which they stand, so that a backslash that is escaped itself begins none.
_ESCAPE = re.compile(rb"(?i:\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2}))|\\.", re.DOTALL)

_Each = Annotated[_Documented | _Tolerant, Field(union_mode="left_to_right")]

VerdictList: TypeAdapter[list[Verdict]] = TypeAdapter(list[_Each])
"""Parses a whole download at once."""

_OneByOne: TypeAdapter[Iterable[Verdict]] = TypeAdapter(Iterable[_Each])

_USUAL_COMMAS, _MOST_COMMAS = 30, 200
_MOST_VERDICTS = 4
_A_FEW = 1_000

_OneVerdict: TypeAdapter[Verdict] = TypeAdapter(Verdict)
_Parsed = TypeVar("_Parsed")


def verdicts_in(body: bytes, quantity: int | None = None) -> list[Verdict]:
    """Parses a download.

    A character that is none (bytes that are no UTF-8, one half of a surrogate pair) becomes the replacement character:
    one odd name must not keep a batch from ever being loaded.

    Args:
        body: A JSON array.
        quantity: How many addresses were sent, or None for any number.

    Raises:
        ValidationError: It is none, or not whole.
        TooManyVerdicts: It has far more elements than addresses were sent.
    """
    if quantity is not None:
        _refuse_far_too_many(body, quantity)
    return _mended(VerdictList, body)


def _refuse_far_too_many(body: bytes, quantity: int) -> None:
    # Before an object is made of each: a million of `{}` are 3 MB, and took 137 MB as verdicts. A verdict as documented
    # has some 20 commas, so that most bodies need no more than a look at those.
    commas = body.count(b",")
    if commas <= _USUAL_COMMAS * quantity + _A_FEW:
        return
    most = _MOST_VERDICTS * quantity + _A_FEW
    if commas > _MOST_COMMAS * quantity + _A_FEW:
        raise TooManyVerdicts
    with suppress(ValidationError):
        # What it is wrong with, the parser of all tells.
        if next(islice(_OneByOne.validate_json(body), most, None), None) is not None:
            raise TooManyVerdicts


def verdict_in(body: bytes) -> Verdict:
    """Parses the answer of a verification in real time, as ``verdicts_in`` does a download.

    Args:
        body: A JSON object.

    Raises:
        ValidationError: It is none, or not whole.
    """
    return _mended(_OneVerdict, body)


def _mended(kind: TypeAdapter[_Parsed], body: bytes) -> _Parsed:
    try:
        return kind.validate_json(body)
    except ValidationError:
        mended = body.decode(errors="replace").encode()
        mended = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], mended)
        if mended == body:
            raise
    return kind.validate_json(mended)
