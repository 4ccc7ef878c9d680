"""Writes the service's answers: JSON, CSV, its own errors and those of a gateway."""

import csv
import io
from collections.abc import Iterable
from typing import Any

import orjson
from starlette.responses import HTMLResponse, Response

from sandbox.errors import ApiError, phrase

__all__ = ["csv_answer", "error_answer", "gateway_answer", "half_json_answer", "json_answer", "results_answer"]

_CSV_COLUMNS = {
    "email": ("email",),
    "status": ("status",),
    "reason": ("reason",),
    "domain": ("domain", "name"),
    "acceptAll": ("domain", "acceptAll"),
    "disposable": ("domain", "disposable"),
    "free": ("domain", "free"),
    "role": ("account", "role"),
    "disabled": ("account", "disabled"),
    "fullMailbox": ("account", "fullMailbox"),
    "dnsType": ("dns", "type"),
    "dnsRecord": ("dns", "record"),
    "provider": ("provider",),
    "score": ("score",),
    "toxic": ("toxic",),
    "toxicity": ("toxicity",),
    "retryAfter": ("retryAfter",),
    "didYouMean": ("didYouMean",),
}


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def results_answer(results: Iterable[dict[str, Any]]) -> Response:
    """The results of a batch as a JSON array."""
    # One at a time: the objects of 100,000 results, or as many separate texts, take ten times what the text does.
    text = bytearray(b"[")
    for result in results:
        text += orjson.dumps(result)
        text += b","
    text[max(len(text) - 1, 1) :] = b"]"
    return Response(bytes(text), media_type="application/json")


def csv_answer(results: Iterable[dict[str, Any]]) -> Response:
    """The results of a batch as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_CSV_COLUMNS)
    for result in results:
        writer.writerow([_cell(result, path) for path in _CSV_COLUMNS.values()])
    return Response(text.getvalue(), media_type="text/csv")


def error_answer(error: ApiError) -> Response:
    """An error as Bouncer writes it: its status is a number or a string."""
    body = {"status": error.told, "error": phrase(error.status), "message": error.message}
    return json_answer(body, error.sent_as, _retry_after(error))


def gateway_answer(error: ApiError) -> Response:
    """An error as a gateway before the service writes it."""
    title = f"{error.status} {phrase(error.status)}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><hr>gateway</body></html>"
    return HTMLResponse(page, error.status, _retry_after(error))


def half_json_answer(whole: Response) -> Response:
    """An answer of 200 whose body breaks off, though HTTP says that it is all there."""
    half = bytes(whole.body)[: len(whole.body) // 2]
    return Response(half or b'{"batchId": ', media_type="application/json")


def _retry_after(error: ApiError) -> dict[str, str]:
    return {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}


def _cell(result: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = result
    for field in path:
        value = value.get(field) if value else None
    return value
