"""The errors of the service, as Bouncer words them."""

import math
from enum import StrEnum
from http import HTTPStatus

__all__ = ["ApiError", "Message", "phrase", "too_many_requests"]


class Message(StrEnum):
    """Words of an error's ``message``; ``bouncer.probe.behaviours`` has the source of each."""

    NO_KEY = "api key is required"
    UNKNOWN_KEY = "user not found"
    CREDITS_LEFT = "{} credits left"
    NO_SUCH_BATCH = "request {} does not exist"
    NOT_COMPLETED = "batch is not completed"
    NOT_COMPLETED_YET = "processing is not completed yet"
    REMOVED = "email addresses and results have been removed"
    NOT_DELETABLE = "batch cannot be deleted in current state"
    NOT_RUNNING = "batch has to be running to finish"
    TOO_MANY_EMAILS = "too many emails"
    MALFORMED = "malformed body"
    NO_EMAIL = "email is missing"
    TOO_MANY_REQUESTS = "too many requests"


# Bouncer writes these as numbers, all others as strings (openapi.yml of its documentation).
_NUMBERS = frozenset({401, 429})


class ApiError(Exception):
    """A call that is answered with an error.

    Attributes:
        status: The HTTP status that the answer stands for.
        message: What the answer says.
        retry_after: What the Retry-After header says: whole seconds, or any text.
        sent_as: The HTTP status that is sent; a refused finish is answered with 200.
        told: What the body says as its status.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: int | str | None = None,
        *,
        sent_as: int | None = None,
        told: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.sent_as = sent_as or status
        self.told: int | str = told or (status if status in _NUMBERS else str(status))


def too_many_requests(seconds: float | None) -> ApiError:
    """The 429 of a client that must wait so many seconds, or is not told how long."""
    wait = None if seconds is None else max(1, math.ceil(seconds))
    return ApiError(429, Message.TOO_MANY_REQUESTS, wait)


def phrase(status: int) -> str:
    """The words that belong to an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
