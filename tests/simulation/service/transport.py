"""The way to a simulated Bouncer: requests as docs/reference/bouncer.md has them, and all that can become of one."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from urllib.parse import unquote

import httpx
import orjson

from tests.simulation.faults import REQUEST, Fault, Faults
from tests.simulation.installation.outages import BOUNCER, KEY, Outages
from tests.simulation.machine import processes
from tests.simulation.machine.processes import Process
from tests.simulation.machine.virtual_time import moment
from tests.simulation.service.books import Books, Customer, Order
from tests.simulation.service.verdicts import MALFORMED, Answer

__all__ = ["Transport"]

_REAL_TIME = "/v1.1/email/verify"
_BATCH = f"{_REAL_TIME}/batch"


class Transport(httpx.AsyncBaseTransport):
    """Carries requests to Bouncer, and answers back.

    Args:
        books: Bouncer's.
        faults: What goes wrong.
        chance: What Bouncer does by chance.
        clock: How many seconds Bouncer's clock is wrong.
        stuck: How likely a batch stands still.
        removed: How likely the results of a batch are removed before anybody fetches them.
        vanishing: How likely a batch is lost while Bouncer has it.
        lag: For how long a batch that was just taken is not known, and the results of one just done are not there.
        tell: Told of each request and what became of it.
        judge: Told of each call that reached Bouncer: the customer, the kind, and how many in the last minute.
        freeze: Lets a process stand still.
        accepted: Told of each batch that Bouncer took.
        asked: Told of each address that it was asked for in real time.
        outages: Say when it is away, or refuses the keys.
    """

    def __init__(
        self,
        books: Books,
        faults: Faults,
        chance: random.Random,
        *,
        clock: float,
        stuck: float,
        removed: float,
        vanishing: float,
        lag: float,
        tell: Callable[[str], None],
        judge: Callable[[str, str, int], None],
        freeze: Callable[[Process, Fault], None],
        accepted: Callable[[Customer, Order], None],
        asked: Callable[[Customer, str], None],
        outages: Outages,
    ) -> None:
        self._books = books
        self._faults = faults
        self._chance = chance
        self._clock = clock
        self._stuck = stuck
        self._removed = removed
        self._vanishing = vanishing
        self._lag = lag
        self._tell = tell
        self._judge = judge
        self._freeze = freeze
        self._accepted = accepted
        self._asked = asked
        self._outages = outages

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carries one request there and its answer back."""
        processes.die_if_dead()
        what = _named(request)
        fault = self._faults.at(_place(request), REQUEST)
        # Once it has left, the network carries it, even where its process stands still.
        arrival = asyncio.get_running_loop().time() + self._chance.uniform(0.01, 0.3)
        await asyncio.sleep(arrival - asyncio.get_running_loop().time())
        processes.die_if_dead()
        if self._outages.is_away(BOUNCER):
            return self._away(what)
        if fault is not None:
            processes.note_mishap()
            self._tell(f"{what}: {fault.kind}")
        if fault is not None and (early := self._before(fault)) is not None:
            return _sent(early)
        body = await request.aread()
        response, order = self._answer(request, body, arrival)
        self._tell(f"{what} -> {response.status_code}{'' if order is None else f' {order.id[:6]}'}")
        if fault is not None:
            await self._after(fault)
            if fault.kind == "502 afterwards":
                return _sent(_gateway(502))
        await asyncio.sleep(self._chance.uniform(0.01, 0.5))
        processes.die_if_dead()
        if fault is not None and fault.kind == "cut short":
            return _sent(response, fault.share)
        return _sent(response)

    def _away(self, what: str) -> httpx.Response:
        processes.note_mishap()
        # In one of the ways in which a service is away, for as long as it is.
        match int(100 * self._outages.share(BOUNCER)) % 3:
            case 0:
                self._tell(f"{what}: Bouncer is away")
                raise httpx.ConnectError("no connection")
            case 1:
                self._tell(f"{what} -> 503, Bouncer is away")
                return _sent(httpx.Response(503, json={"status": 503, "error": "x", "message": "unavailable"}))
        self._tell(f"{what} -> 500, Bouncer is away")
        return _sent(httpx.Response(500, json={"status": 500, "error": "x", "message": "internal error"}))

    def _before(self, fault: Fault) -> httpx.Response | None:
        match fault.kind:
            case "no connection":
                raise httpx.ConnectError("no connection")
            case "429":
                return httpx.Response(429, headers={"retry-after": str(1 + int(9 * fault.share))}, content=b"{}")
            case "429 without a time":
                return httpx.Response(429, json={"status": 429, "error": "Too Many Requests", "message": "slow down"})
            case "503":
                return httpx.Response(503, json={"status": 503, "error": "x", "message": "unavailable"})
            case "504 before":
                return _gateway(504)
            case "request lost":
                raise httpx.ReadError("the connection broke")
        return None

    async def _after(self, fault: Fault) -> None:
        match fault.kind:
            case "answer lost":
                raise httpx.ReadError("the connection broke")
            case "no answer":
                await asyncio.sleep(90)
                processes.die_if_dead()
                raise httpx.ReadTimeout("no answer")
            case "frozen while it runs":
                process = processes.current()
                if process is not None:
                    self._freeze(process, fault)
            case "killed while it runs":
                process = processes.current()
                if process is not None:
                    self._tell(f"{process.name} is killed")
                    process.kill()
                    raise processes.Killed

    def _answer(  # noqa: C901, PLR0911  # one a call
        self, request: httpx.Request, body: bytes, arrival: float
    ) -> tuple[httpx.Response, Order | None]:
        customer = self._books.customers.get(request.headers["x-api-key"])
        if customer is None:
            return _refusal(401, "user not found"), None
        path, method = request.url.path, request.method
        self._judge(customer.name, _kind(method, path), self._count(customer, method, path, arrival))
        if self._outages.is_away(KEY):
            return self._refused_key(), None
        if path == "/v1.1/credits":
            return httpx.Response(200, json={"credits": max(0, customer.credits)}), None
        if path == _REAL_TIME:
            return self._real_time(customer, request.url.params["email"]), None
        if method == "POST" and path == _BATCH:
            return self._upload(customer, body, request.url.params.get("callback"))
        id_, _, verb = path.removeprefix(_BATCH + "/").partition("/")
        order = customer.orders.get(unquote(id_))
        if order is None or order.is_deleted:
            return _refusal(404, f"request {id_} does not exist"), None
        if method == "DELETE":
            return self._delete(order), None
        match verb:
            case "finish":
                return self._finish(order), None
            case "download":
                return self._download(order), None
        if _is_within(order.created, self._lag):
            return _refusal(404, f"request {id_} does not exist"), None
        return self._status(order), None

    def _refused_key(self) -> httpx.Response:
        processes.note_mishap()
        return _refusal(401 if self._outages.share(KEY) < 0.5 else 403, "this key may not do this")

    def _count(self, customer: Customer, method: str, path: str, arrival: float) -> int:
        kind = _kind(method, path)
        if kind == "uploads":
            self._judge(customer.name, "api", self._books.note_call(customer.name, "api", arrival))
        return self._books.note_call(customer.name, kind, arrival)

    def _upload(self, customer: Customer, body: bytes, callback: str | None) -> tuple[httpx.Response, Order | None]:
        addresses = [one["email"] for one in orjson.loads(body)]
        if any(address.lower().startswith(MALFORMED) for address in addresses):
            return _refusal(400, "malformed"), None
        if customer.credits < len(addresses):
            customer.short_at = asyncio.get_running_loop().time()
            return _refusal(402, "not enough credits"), None
        stuck_at = self._chance.randrange(len(addresses)) if self._chance.random() < self._stuck else None
        order = customer.take(list(dict.fromkeys(addresses)), callback, stuck_at=stuck_at)
        order.is_removed = self._chance.random() < self._removed
        if self._vanishing and self._chance.random() < self._vanishing:
            customer.lose(order, self._chance.uniform(1.0, 30.0))
        self._accepted(customer, order)
        answer = {"batchId": order.id, "created": self._time(order.created), "status": "queued"}
        counts = {"quantity": len(order.addresses), "duplicates": len(addresses) - len(order.addresses)}
        return httpx.Response(200, json={**answer, **counts}), order

    def _real_time(self, customer: Customer, address: str) -> httpx.Response:
        if address.lower().startswith(MALFORMED):
            return _refusal(400, "malformed")
        if customer.credits < 1:
            customer.short_at = asyncio.get_running_loop().time()
            return _refusal(402, "not enough credits")
        self._asked(customer, address)
        answer = customer.verify(address)
        if answer.is_left_out:
            return httpx.Response(200, json={"email": address})
        return httpx.Response(200, json=self._verdict(answer))

    def _status(self, order: Order) -> httpx.Response:
        told: dict[str, object] = {
            "batchId": order.id,
            "status": order.status,
            "quantity": len(order.addresses),
            "created": self._time(order.created),
            "processed": order.processed,
        }
        if order.started is not None:
            told["started"] = self._time(order.started)
        if order.completed is not None:
            told |= {"completed": self._time(order.completed), "credits": order.charged}
        return httpx.Response(200, json=told)

    def _finish(self, order: Order) -> httpx.Response:
        if order.status != "processing":
            if self._chance.random() < 0.5:
                return httpx.Response(200, json={"status": "400", "error": "Bad Request", "message": "not running"})
            return _refusal(400, "batch has to be running")
        order.is_finishing = True
        order.finish.set()
        return httpx.Response(202)

    def _download(self, order: Order) -> httpx.Response:
        if order.completed is None or _is_within(order.completed, self._lag):
            return _refusal(405, "batch is not completed")
        if order.is_removed:
            return _refusal(405, "results were removed")
        verdicts = [self._verdict(answer) for answer in order.answers if not answer.is_left_out]
        self._chance.shuffle(verdicts)
        return httpx.Response(200, json=verdicts)

    def _delete(self, order: Order) -> httpx.Response:
        if order.completed is None:
            return _refusal(405, "batch is not completed")
        order.is_deleted = True
        return httpx.Response(200, json={})

    def _verdict(self, answer: Answer) -> dict[str, object]:
        email = answer.address.upper() if answer.address.lower().startswith("c") else answer.address
        told: dict[str, object] = {"email": email, "status": answer.status, "reason": answer.reason, "score": 50}
        if answer.retry_after is not None:
            later = moment(self._clock) + timedelta(seconds=answer.retry_after)
            told["retryAfter"] = f"{later:%Y-%m-%dT%H:%M:%S.000Z}"
        return told

    def _time(self, seconds: float) -> str:
        at = moment(self._clock + seconds - asyncio.get_running_loop().time())
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


class _Stream(httpx.AsyncByteStream):
    def __init__(self, body: bytes, *, breaks: bool) -> None:
        self._body = body
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        if self._breaks:
            raise httpx.RemoteProtocolError("the connection broke")


def _sent(response: httpx.Response, share: float = 1.0) -> httpx.Response:
    # All of it, or a part: which ends as if that were all, or with an error.
    body = response.content[: int(len(response.content) * share)]
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return httpx.Response(response.status_code, headers=headers, stream=_Stream(body, breaks=0.5 < share < 1.0))


def _gateway(status: int) -> httpx.Response:
    return httpx.Response(status, content=b"<html>bad gateway</html>")


def _refusal(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"status": str(status), "error": "refused", "message": message})


def _is_within(moment: float, seconds: float) -> bool:
    return asyncio.get_running_loop().time() < moment + seconds


def _kind(method: str, path: str) -> str:
    if path == _REAL_TIME:
        return "realtime"
    return "uploads" if method == "POST" and path == _BATCH else "api"


def _place(request: httpx.Request) -> str:
    if request.url.path == _REAL_TIME:
        return "real time"
    return "upload" if request.method == "POST" else "request"


def _named(request: httpx.Request) -> str:
    path = request.url.path.removeprefix("/v1.1/email/verify").removeprefix("/v1.1")
    parts = [part[:6] if len(part) == 24 else part for part in path.split("/") if part]
    return f"{request.method} {'/'.join(parts) or request.url.params.get('email', '')}"
