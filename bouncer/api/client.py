"""The client of Bouncer's batch API: one method a call, typed answers, errors named for outcomes.

Source: https://docs.usebouncer.com (batch-create, batch-status, batch-results, batch-finish, credits).
"""

import logging
import time
from asyncio import CancelledError, timeout, to_thread
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel, ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    stop_after_delay,
)

from bouncer.accounts.call_statistics import ANSWERED, CUT_SHORT, Call, CallNote, outcome_of
from bouncer.api.answers import (
    BatchCreated,
    BatchProgress,
    Credits,
    Granted,
    TooManyVerdicts,
    Verdict,
    verdict_in,
    verdicts_in,
)
from bouncer.api.base_url import refuse_to_send_in_the_clear, stays_here
from bouncer.api.failures import (
    ATTEMPTS,
    CERTAINLY_REFUSED,
    PAID,
    RATE_LIMITED_SECONDS,
    TOLD_OF_429,
    WORTH_ANOTHER_ATTEMPT,
    between_attempts,
    error_of_answer,
    error_of_transport,
    until_told,
    wait_as_told,
)
from bouncer.api.request_gate import Gate, Ticket
from bouncer.api.response_bodies import ACCEPTED_ENCODINGS, read_body
from bouncer.api.tls import tls_of
from bouncer.errors import (
    BouncerFlowsError,
    BreakerOpen,
    DownloadTruncated,
    KeyRefused,
    RateLimited,
    UnexpectedAnswer,
    UploadOutcomeUnknown,
)
from bouncer.stopping import (
    GRACE_SECONDS,
    cut_after_stop,
    is_stopping,
    refuse_while_stopping,
    sleep_unless_stopping,
)

__all__ = ["BouncerClient", "KeySource"]

_log = logging.getLogger(__name__)
_Return = TypeVar("_Return")
_Model = TypeVar("_Model", bound=BaseModel)

KeySource = Callable[[], Awaitable[str]]
"""Gives the API key for the next request, so that a rotated key is used without a restart."""

# What the circuit breaker counts.
_FAILURES = (*WORTH_ANOTHER_ATTEMPT, UploadOutcomeUnknown)

# An upload of 10,000 addresses is 400 kB; Bouncer checks it for duplicates before it answers.
_TIMEOUT = httpx.Timeout(connect=10, read=90, write=60, pool=30)
_WHOLE_CALL_SECONDS = 600
# Bouncer's answers are some 400 bytes an address; a body far beyond that is not an answer.
_BYTES_AN_ADDRESS = 2_048
_BYTES_OF_AN_ANSWER = 1_000_000


@dataclass
class _Request:
    """One request of a call.

    Attributes:
        ticket: Leave to send it, once it was given.
        seconds: What the exchange took, once there was one.
        answered: Whether Bouncer gave an answer that makes sense, be it a refusal.
    """

    call: Call
    ticket: Ticket | None = None
    seconds: float | None = None
    answered: bool = False


def _without_query(record: logging.LogRecord) -> bool:
    # httpx tells every URL at level INFO; what stands behind the question mark is a callback's token, or an address.
    if isinstance(record.args, tuple):
        record.args = tuple(part.copy_with(query=None) if isinstance(part, httpx.URL) else part for part in record.args)
    return True


logging.getLogger("httpx").addFilter(_without_query)


class BouncerClient:
    """Calls Bouncer; every request, retries included, passes the gate.

    Failures that may pass by themselves are retried as ``bouncer.api.failures`` has it; the rest is raised at once.
    Connections are kept and reused. Use it as an asynchronous context manager.

    Args:
        base_url: Such as ``https://api.usebouncer.com/v1.1``.
        key: Gives the API key.
        gate: Circuit breaker, rate limit and count.
        realtime_seconds: Bouncer's time for one address in real time, 30 at most.
        transport: Carries the requests, where that is not the network.
    """

    def __init__(
        self,
        base_url: str,
        key: KeySource,
        gate: Gate,
        *,
        realtime_seconds: int = 10,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._gate = gate
        self._realtime_seconds = realtime_seconds
        self._key = key
        self._base_url = base_url
        self._http = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            timeout=_TIMEOUT,
            # A connection that idled longer may be closed at Bouncer's side, and an upload over it would be lost.
            limits=httpx.Limits(keepalive_expiry=30),
            headers={"User-Agent": "bouncer-flows", "Accept-Encoding": ACCEPTED_ENCODINGS},
            # The environment's proxies are for what leaves this machine; one would read the key.
            trust_env=not stays_here(base_url),
            verify=tls_of(base_url),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        """Returns the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connections."""
        await self._http.aclose()
        await self._gate.store_notes()

    async def create_batch(
        self,
        addresses: Sequence[str],
        *,
        sending: Callable[[], Awaitable[None]],
        refused: Callable[[], Awaitable[None]],
        callback: str | None = None,
    ) -> BatchCreated:
        """Uploads a batch. This is the call that costs money.

        Args:
            addresses: Up to 100,000 addresses, each once.
            sending: Called when the gate has let the request pass, before its first byte is sent; what it raises
                keeps the request from being sent.
            refused: Called after it for each request that Bouncer certainly did not take, at once: before the wait for
                the next attempt, which calls ``sending`` anew.
            callback: The address that Bouncer calls when the batch is complete, or None.

        Raises:
            AddressesRefused: Bouncer will never take them.
            OutOfCredits: The account has too few credits.
            UploadOutcomeUnknown: Bouncer may have the batch or not. It was not sent again.
            BouncerUnavailable: Bouncer certainly does not have it.
        """
        body = orjson.dumps([{"email": address} for address in addresses])
        query = {} if callback is None else {"callback": callback}

        async def upload(request: _Request) -> BatchCreated:
            begun = False

            async def begin() -> None:
                nonlocal begun
                await sending()
                begun = True

            path = "email/verify/batch"
            try:
                answer = await self._answer(request, "POST", path, sending=begin, content=body, params=query)
            except BouncerFlowsError as error:
                if begun and (request.seconds is None or isinstance(error, CERTAINLY_REFUSED)):
                    await refused()
                raise
            unnamed = UploadOutcomeUnknown("an upload was answered with no batch id")
            created = _parsed(BatchCreated, answer, unnamed)
            _log.info("Bouncer has the upload as its batch %s", created.batch_id)
            return created

        return await self._attempts(Call.CREATE, upload)

    async def batch_progress(self, batch_id: str) -> BatchProgress:
        """Asks how far a batch has come.

        Raises:
            BatchLost: Bouncer does not know the batch.
            BouncerUnavailable: It did not answer; that says nothing about the batch.
        """

        async def ask(request: _Request) -> BatchProgress:
            path = f"email/verify/batch/{quote(batch_id, safe='')}"
            answer = await self._answer(request, "GET", path, params={"with-stats": "true"})
            return _parsed(BatchProgress, answer, UnexpectedAnswer("Bouncer reported no status"))

        return await self._attempts(Call.STATUS, ask)

    async def download(
        self, batch_id: str, quantity: int, *, sleep: Callable[[float], Awaitable[None]] | None = None
    ) -> list[Verdict]:
        """Downloads the verdicts of a batch that reads completed.

        Args:
            batch_id: Bouncer's id.
            quantity: How many addresses were sent; bounds what is read.
            sleep: Waits so many seconds for the next attempt, or None for a plain wait.

        Returns:
            One verdict an address, in no order to rely on.

        Raises:
            BatchNotCompleted: Bouncer will not hand them out yet.
            BatchLost: It has none, or none any more.
            DownloadTruncated: All attempts ended early or could not be parsed.
            RateLimited: It is to be asked for again later; the waiting is the caller's.
        """

        async def fetch(request: _Request) -> list[Verdict]:
            path = f"email/verify/batch/{quote(batch_id, safe='')}/download"
            most = _BYTES_OF_AN_ANSWER + quantity * _BYTES_AN_ADDRESS
            body = await self._answer(request, "GET", path, most_bytes=most, params={"download": "all"})
            try:
                return await to_thread(verdicts_in, body, quantity)
            except ValidationError as error:
                trouble = f"cannot be parsed ({error.error_count()} errors)"
            except TooManyVerdicts:
                trouble = f"has far more verdicts than {quantity:,}"
            # Out here, or it would carry the first error, whose text quotes the body and with it addresses.
            raise DownloadTruncated(f"a download {trouble}")

        return await self._attempts(Call.DOWNLOAD, fetch, sleep)

    async def finish(self, batch_id: str) -> None:
        """Stops a batch that runs; the credits of what is not verified come back.

        Raises:
            FinishRefused: It does not run: it is queued or completed, and nothing has changed.
            BatchLost: Bouncer does not know the batch.
            BouncerUnavailable: It did not answer.
        """

        # Not a lambda: tenacity 9.2 would not see that there is something to await, and nothing would be sent.
        async def stop(request: _Request) -> None:
            answer = await self._answer(request, "POST", f"email/verify/batch/{quote(batch_id, safe='')}/finish")
            if answer.strip():
                # Half of a refusal is no consent.
                _parsed(Granted, answer, UnexpectedAnswer("Bouncer's answer to a finish cannot be read"))

        await self._attempts(Call.FINISH, stop)

    async def delete_batch(self, batch_id: str) -> None:
        """Deletes the addresses and results of a completed batch at Bouncer.

        Raises:
            BatchLost: It has none, or none any more.
            BatchNotCompleted: It is in flight.
            BouncerUnavailable: It did not answer.
        """

        async def delete(request: _Request) -> None:
            answer = await self._answer(request, "DELETE", f"email/verify/batch/{quote(batch_id, safe='')}")
            if answer.strip():
                _parsed(Granted, answer, UnexpectedAnswer("Bouncer's answer to a deletion cannot be read"))

        await self._attempts(Call.DELETE, delete)

    async def credits(self) -> int:
        """Asks what the account can still pay for; at most 10 times a minute.

        Raises:
            KeyRefused: The key is wrong.
            BouncerUnavailable: It did not answer.
        """

        async def ask(request: _Request) -> int:
            answer = await self._answer(request, "GET", "credits")
            return _parsed(Credits, answer, UnexpectedAnswer("Bouncer reported no credits")).credits

        return await self._attempts(Call.CREDITS, ask)

    async def verify(self, address: str) -> Verdict:
        """Verifies one address in real time. This call costs money.

        Raises:
            AddressesRefused: Bouncer will never take it.
            OutOfCredits: The account has no credits.
            UploadOutcomeUnknown: It may have been paid for or not. It was not asked for again.
            BouncerUnavailable: It was certainly not paid for.
            RateLimited: It was certainly not paid for; the caller is to wait.
        """

        async def ask(request: _Request) -> Verdict:
            query = {"email": address, "timeout": str(self._realtime_seconds)}
            answer = await self._answer(request, "GET", "email/verify", params=query)
            with suppress(ValidationError):
                verdict = verdict_in(answer)
                if verdict.is_whole:
                    # There is no doubt about which address it is on, however Bouncer writes it.
                    return replace(verdict, email=address)
            # Out here, or it would carry the first error, whose text quotes the body.
            raise UploadOutcomeUnknown("a verification was answered with no verdict")

        return await self._attempts(Call.VERIFY, ask)

    async def _attempts(
        self,
        call: Call,
        once: Callable[[_Request], Awaitable[_Return]],
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> _Return:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(WORTH_ANOTHER_ATTEMPT) & retry_if_not_exception_type(BreakerOpen),
            wait=between_attempts,
            stop=stop_after_attempt(ATTEMPTS),
            sleep=sleep or sleep_unless_stopping,
            before_sleep=_tell(call),
            reraise=True,
        )
        try:
            return await retrying(self._noted if call in TOLD_OF_429 else self._sitting_out_429, call, once)
        except BreakerOpen:
            # Not a failure of Bouncer's: counted as one, it would end the probe that others wait for.
            raise
        except _FAILURES:
            # An answer that was cut short because the process is to stop is no failure of Bouncer's.
            if not is_stopping():
                await self._gate.failed()
            raise

    async def _sitting_out_429(self, call: Call, once: Callable[[_Request], Awaitable[_Return]]) -> _Return:
        sitting_out = AsyncRetrying(
            retry=retry_if_exception_type(RateLimited),
            wait=wait_as_told,
            stop=stop_after_delay(RATE_LIMITED_SECONDS),
            sleep=sleep_unless_stopping,
            before_sleep=_tell(call),
            reraise=True,
        )
        return await sitting_out(self._noted, call, once)

    async def _noted(self, call: Call, once: Callable[[_Request], Awaitable[_Return]]) -> _Return:
        request = _Request(call)
        try:
            answer = await once(request)
        except BouncerFlowsError as error:
            await self._note(request, outcome_of(error), failed=isinstance(error, _FAILURES) and not is_stopping())
            raise
        except CancelledError:
            # Whoever asked has waited long enough. Nothing may be waited for here, so that it is noted and no more.
            if request.seconds is not None and not is_stopping():
                self._gate.note(CallNote(call, CUT_SHORT, request.seconds))
            raise
        await self._note(request, ANSWERED)
        return answer

    async def _note(self, request: _Request, outcome: str, *, failed: bool = False) -> None:
        # Without a duration it was never sent: the breaker was open, say.
        if request.seconds is not None:
            self._gate.note(CallNote(request.call, outcome, request.seconds))
        if request.answered and request.ticket is not None:
            await self._gate.answered(request.ticket)
        elif request.ticket is not None:
            await self._gate.unanswered(request.ticket, failed=failed)

    async def _answer(
        self,
        request: _Request,
        method: str,
        path: str,
        *,
        most_bytes: int = _BYTES_OF_AN_ANSWER,
        sending: Callable[[], Awaitable[None]] | None = None,
        **parts: Any,
    ) -> bytes:
        call = request.call
        refuse_while_stopping()
        request.ticket = await self._gate.admit(call)
        key = _fit_for_a_header(await self._key())
        refuse_to_send_in_the_clear(self._base_url, key)
        sent = {"x-api-key": key, "Content-Type": "application/json"}
        if sending is not None:
            await sending()
        await self._gate.renew(request.ticket)
        began = time.monotonic()
        try:
            status, headers, body = await self._exchange(call, method, path, most_bytes, {"headers": sent, **parts})
        finally:
            request.seconds = time.monotonic() - began
        request.answered = status < 500 and status != 429
        if 200 <= status < 300:
            told = _refusal_in(body)
            if told is None:
                return body
            status = told
            request.answered = status < 500 and status != 429
        retry_after = until_told(headers.get("retry-after"), datetime.now(UTC))
        raise error_of_answer(call, status, _message(body, key), retry_after)

    async def _exchange(
        self, call: Call, method: str, path: str, most_bytes: int, parts: dict[str, Any]
    ) -> tuple[int, httpx.Headers, bytes]:
        try:
            async with (
                cut_after_stop(GRACE_SECONDS),
                timeout(_WHOLE_CALL_SECONDS),
                self._http.stream(method, path, **parts) as response,
            ):
                body = await read_body(response, most_bytes)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            # The last but one: redirects are not followed, but httpx reads where they lead.
            broken = error_of_transport(call, error)
        else:
            if body is None:
                raise _too_long(call)
            return response.status_code, response.headers, body
        # Out here, or it would carry httpx's error, and with it the request, the key and the addresses.
        raise broken


def _fit_for_a_header(key: str) -> str:
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        # Sent as it is, it would come back in the text of an error.
        raise KeyRefused("the API key holds characters that no key has; enter it again in block bouncer-account")
    return key


def _too_long(call: Call) -> BouncerFlowsError:
    said = "Bouncer's answer is far longer than any answer can be"
    return UploadOutcomeUnknown(said) if call in PAID else UnexpectedAnswer(said)


def _parsed(model: type[_Model], body: bytes, otherwise: BouncerFlowsError) -> _Model:
    with suppress(ValidationError):
        return model.model_validate_json(body)
    # Out here, or it would carry the first error, whose text quotes the body.
    raise otherwise


def _refusal_in(body: bytes) -> int | None:
    # An error can come with 200 (a finish of a queued batch does); an answer that names a batch or an address is none.
    if not body.lstrip().startswith(b"{") or b'"error"' not in body:
        return None
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not answer.get("error") or answer.get("batchId") or answer.get("email"):
        return None
    told = str(answer.get("status"))
    return int(told) if told.isascii() and told.isdigit() and len(told) == 3 else 0


def _message(body: bytes, key: str) -> str:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "not JSON, a gateway's page perhaps"
    if not isinstance(answer, dict):
        return ""
    said = str(answer.get("message") or answer.get("error") or "")
    # An answer may quote the key that was sent.
    return said.replace(key, "[key]") if key else said


def _tell(call: Call) -> Callable[[RetryCallState], None]:
    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        _log.warning("%s: %s; next attempt in %.0f s", call, error, wait)

    return tell
