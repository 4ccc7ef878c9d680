"""The errors of the service, as Bouncer words them."""

import math
from http import HTTPStatus

__all__ = ["ApiError", "phrase", "too_many_requests"]


class ApiError(Exception):
    """A call that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: What the answer says.
        retry_after: What the Retry-After header says: whole seconds, or any text.
    """

    def __init__(self, status: int, message: str, retry_after: int | str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def too_many_requests(seconds: float | None) -> ApiError:
    """The 429 of a client that must wait so many seconds, or is not told how long."""
    return ApiError(429, "too many requests", None if seconds is None else max(1, math.ceil(seconds)))


def phrase(status: int) -> str:
    """The words that belong to an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
