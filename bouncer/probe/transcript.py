"""A transcript of requests and answers without keys and addresses, for a user to send in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bouncer.errors import InputRefused
from bouncer.files.atomic_file import atomic_file
from bouncer.safe_text import without_addresses

__all__ = ["Transcript"]

_TOLD_HEADERS = ("content-type", "retry-after", "date")
_MOST_ELEMENTS = 12
_MOST_CHARACTERS = 2_000
_DEEPEST = 20


class Transcript:
    """One JSON object a request, in the order of the requests.

    Args:
        key: The API key, which must not be written anywhere.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._numbers: dict[str, int] = {}
        self._lines: list[dict[str, Any]] = []

    def know(self, addresses: list[str]) -> None:
        """Gives addresses numbers, by which the transcript tells them apart."""
        for address in addresses:
            self._numbers.setdefault(address.lower(), len(self._numbers) + 1)

    def add(self, what: str, sent: Any, status: int, headers: Mapping[str, str], body: Any) -> None:
        """Writes down one request and its answer, or a callback.

        Args:
            what: Such as ``GET /credits``.
            sent: The body that was sent.
            status: The HTTP status of the answer.
            headers: Its headers, of which few are kept.
            body: Its body.
        """
        told = {name: headers[name] for name in _TOLD_HEADERS if name in headers}
        line = {"asked": what, "sent": sent, "status": status, "headers": told, "answer": body}
        self._lines.append(self._masked(line))

    def write(self, file: Path) -> None:
        """Writes it to a file.

        Raises:
            InputRefused: It cannot be written there.
        """
        try:
            with atomic_file(file) as text:
                text.writelines(json.dumps(line) + "\n" for line in self._lines)
        except OSError as error:
            raise InputRefused(f"{file} cannot be written ({error.strerror}); name another with --transcript") from None

    def _masked(self, value: Any, depth: int = _DEEPEST) -> Any:
        if isinstance(value, dict | list) and not depth:
            return "[more levels]"
        if isinstance(value, dict):
            return {self._masked(name): self._masked(item, depth - 1) for name, item in value.items()}
        if isinstance(value, list):
            more = len(value) - _MOST_ELEMENTS
            kept = [self._masked(item, depth - 1) for item in value[:_MOST_ELEMENTS]]
            return [*kept, f"[{more} more]"] if more > 0 else kept
        if not isinstance(value, str):
            return value
        text = value.replace(self._key, "[key]") if self._key else value
        return without_addresses(text, self._name)[:_MOST_CHARACTERS]

    def _name(self, address: str) -> str:
        number = self._numbers.get(address.lower())
        return "[address]" if number is None else f"[address {number}]"
