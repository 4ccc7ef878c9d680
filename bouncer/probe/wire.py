"""One request at a time, as it is and without another attempt: a probe looks at what the client never shows."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from bouncer.accounts.call_statistics import Call
from bouncer.api.base_url import refuse_to_send_in_the_clear
from bouncer.api.request_gate import Gate
from bouncer.api.response_bodies import read_body
from bouncer.errors import BouncerUnavailable
from bouncer.probe.transcript import Transcript

__all__ = ["Exchange", "Wire"]

_MOST_BYTES = 4_000_000
_WHOLE_CALL_SECONDS = 120
_STATUS = re.compile(r"\d{3}", re.ASCII)


@dataclass(frozen=True)
class Exchange:
    """An answer.

    Attributes:
        body: Parsed where it is JSON, else its text.
    """

    status: int
    body: Any
    retry_after: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The fields of an object; none where it is something else."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def is_granted(self) -> bool:
        """Tells whether it is an answer with 2xx that says no error."""
        return 200 <= self.status < 300 and not self.told.get("error")

    @property
    def refused_with(self) -> int:
        """The status of a refusal, whether HTTP or only the body tells it; 0 where it is none."""
        if not 200 <= self.status < 300:
            return self.status
        told = str(self.told.get("status"))
        return int(told) if self.told.get("error") and _STATUS.fullmatch(told) else 0

    def __str__(self) -> str:
        """In a few words, for a person."""
        if self.told.get("error"):
            return f"{self.status} {self.told.get('error')}: {self.told.get('message')}"
        return f"{self.status}"


class Wire:
    """The way to Bouncer; every request passes the gate and is written down.

    Args:
        http: A client without a base URL.
        base_url: Such as ``https://api.usebouncer.com/v1.1``.
        key: The API key.
        gate: Circuit breaker, rate limit and count.
        transcript: Where it is written down.
    """

    def __init__(self, http: httpx.AsyncClient, base_url: str, key: str, gate: Gate, transcript: Transcript) -> None:
        self._http = http
        self._key = key
        self._gate = gate
        self.base_url = base_url.rstrip("/")
        self.transcript = transcript
        self.refusals: list[Exchange] = []

    async def send(
        self, call: Call, method: str, path: str, *, key: str | None = None, content: Any = None, **query: str
    ) -> Exchange:
        """Sends one request.

        Args:
            call: What it counts as.
            method: HTTP's.
            path: Behind the base URL, or a whole URL.
            key: Another key than the account's; empty for none.
            content: What is sent as JSON.
            query: What stands behind the question mark.

        Raises:
            BouncerUnavailable: Nothing came back.
        """
        key = self._key if key is None else key
        refuse_to_send_in_the_clear(self.base_url, key)
        url = path if path.startswith("http") else f"{self.base_url}/{path}"
        headers = {"Content-Type": "application/json", **({"x-api-key": key} if key else {})}
        ticket = await self._gate.admit(call)
        await self._gate.renew(ticket)
        body = None if content is None else orjson.dumps(content)
        try:
            async with (
                asyncio.timeout(_WHOLE_CALL_SECONDS),
                self._http.stream(method, url, params=query, headers=headers, content=body) as response,
            ):
                raw = await read_body(response, _MOST_BYTES)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            # The middle ones: redirects are not followed, but httpx reads where they lead.
            await self._gate.unanswered(ticket, failed=True)
            name = type(error).__name__
        else:
            await self._gate.answered(ticket)
            exchange = Exchange(response.status_code, _parsed(raw or b""), response.headers.get("retry-after"))
            asked = f"{method} {response.request.url.path} {json.dumps(query) if query else ''}".strip()
            self.transcript.add(asked, content, exchange.status, response.headers, exchange.body)
            if exchange.refused_with:
                self.refusals.append(exchange)
            return exchange
        # Out here, or it would carry httpx's error, and with it the request and the key.
        raise BouncerUnavailable(f"Bouncer did not answer ({name}); run the probe again")


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
