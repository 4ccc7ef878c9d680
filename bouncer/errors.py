"""Errors named for outcomes; each message says what happened and what to do next."""

from bouncer.safe_text import visible

__all__ = [
    "AddressesRefused",
    "BatchLost",
    "BatchNotCompleted",
    "BouncerFlowsError",
    "BouncerUnavailable",
    "BreakerOpen",
    "DatabaseUnavailable",
    "DownloadTruncated",
    "FinishRefused",
    "HourIsFull",
    "InputRefused",
    "KeyRefused",
    "LimitsMissing",
    "ListUnfinished",
    "NothingToSend",
    "OrchestratorUnavailable",
    "OutOfCredits",
    "OwnershipLost",
    "Paused",
    "RateLimited",
    "RequestCancelled",
    "RowsAltered",
    "SettingRefused",
    "SpendingRefused",
    "Stopped",
    "UnexpectedAnswer",
    "UploadHeld",
    "UploadOutcomeUnknown",
]


class BouncerFlowsError(Exception):
    """The base of every error that this project raises on purpose; its text, one line, is for people.

    What it quotes of names and headers moves no cursor, where it is told and in the traceback of a run.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class SettingRefused(BouncerFlowsError):
    """A setting cannot be used as it stands."""


class InputRefused(BouncerFlowsError):
    """A file cannot be imported or written as it stands; nothing was changed."""


class DatabaseUnavailable(BouncerFlowsError):
    """The contacts database cannot be reached."""


class RowsAltered(BouncerFlowsError):
    """The database would have stored other values than it was given; the transaction is rolled back."""


class OrchestratorUnavailable(BouncerFlowsError):
    """The Prefect server cannot be reached, so no limit can be held and nothing may be sent."""


class LimitsMissing(BouncerFlowsError):
    """A global concurrency limit does not exist; without it a call would pass unlimited."""


class OwnershipLost(BouncerFlowsError):
    """Another run has taken the batch over; this one must not touch it any more."""


class Paused(BouncerFlowsError):
    """No uploads for now: somebody, the lack of credits or held batches keep the account from them."""


class RequestCancelled(BouncerFlowsError):
    """The batch's request was cancelled before the batch was sent; it is not sent any more."""


class Stopped(BouncerFlowsError):
    """The process was asked to stop; the batch is left where it is and goes on with the next run."""


class BouncerUnavailable(BouncerFlowsError):
    """Bouncer did not answer, or answered that it cannot now; certainly nothing happened there."""


class BreakerOpen(BouncerUnavailable):
    """The circuit breaker kept the call back; nothing was sent."""


class UnexpectedAnswer(BouncerUnavailable):
    """Bouncer answered something that is not in its documentation."""


class RateLimited(BouncerFlowsError):
    """Bouncer answered 429.

    Attributes:
        retry_after: Seconds to wait as Bouncer asks, or None where it does not say.
    """

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("Bouncer answered 429, too many requests; does anything else use the same key?")
        self.retry_after = retry_after


class HourIsFull(RateLimited):
    """As many addresses were verified in real time within the hour as may be; nothing was sent."""

    def __init__(self) -> None:
        super().__init__(60.0)
        self.args = ("the hour has had its addresses in real time (REALTIME_PER_HOUR); the rest waits its turn",)


class OutOfCredits(BouncerFlowsError):
    """Bouncer answered 402: the account has fewer credits than the batch needs."""


class KeyRefused(BouncerFlowsError):
    """Bouncer answered 401 or 403: the API key is wrong, or may not do this."""


class NothingToSend(BouncerFlowsError):
    """All addresses of a batch were deleted, or changed into none, before it was uploaded."""


class AddressesRefused(BouncerFlowsError):
    """Bouncer answered 400 to an upload: it will never take these addresses as they are."""


class UploadOutcomeUnknown(BouncerFlowsError):
    """The answer to an upload was lost: Bouncer may have the batch, and be paid for it, or not."""


class UploadHeld(BouncerFlowsError):
    """An upload of unknown outcome waits for a person, as AMBIGUOUS_UPLOAD=hold asks."""


class BatchNotCompleted(BouncerFlowsError):
    """Bouncer will not hand out results yet, although the batch read completed."""


class FinishRefused(BouncerFlowsError):
    """Bouncer will not finish the batch: it is queued there still, or completed already; nothing has changed."""


class BatchLost(BouncerFlowsError):
    """Bouncer does not know the batch, or has removed its results."""


class BatchStuck(BatchLost):
    """Bouncer makes no progress with the batch, even after it was asked to finish it."""


class DownloadTruncated(BouncerFlowsError):
    """A download ended early or cannot be parsed; nothing of it was loaded."""


class SpendingRefused(BouncerFlowsError):
    """A list could cost more than may be spent without asking; nothing of it was queued."""


class ListUnfinished(BouncerFlowsError):
    """Contacts of a list still wait, so there is no result yet; the same run again goes on."""
