"""The calls of Bouncer's API over HTTP, and what goes wrong with them on demand."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from sandbox.errors import ApiError, Message
from sandbox.http.transport import CutBody, NoAnswer, TrickledBody
from sandbox.service.accounts import Account
from sandbox.service.answers import (
    csv_answer,
    error_answer,
    gateway_answer,
    half_json_answer,
    json_answer,
    results_answer,
)
from sandbox.service.callbacks import Callbacks
from sandbox.service.faults import Fault, Operation
from sandbox.service.service import Service

__all__ = ["router"]


class _Call(APIRoute):
    """A call that is counted, meets the fault that was asked for, and needs a key and room in the limits.

    The name of the route is that of the operation.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = super().get_route_handler()
        operation = cast(Operation, self.name)

        async def handle(request: Request) -> Response:
            service = _service(request)
            key = request.headers.get("x-api-key", "")
            service.ledger.count_request(operation, key, service.clock())

            async def process() -> Response:
                try:
                    request.state.account = service.admit(key, operation)
                    return await endpoint(request)
                except ApiError as error:
                    return error_answer(error)

            fault = service.faults.for_request(operation)
            try:
                answer = await (process() if fault is None else _meet(fault, request, process))
            except ClientDisconnect:
                answer = NoAnswer()
            outcome = "none" if isinstance(answer, NoAnswer) else str(answer.status_code)
            service.ledger.answers_by_status[outcome] += 1
            return answer

        return handle


router = APIRouter(route_class=_Call)


@router.post("/email/verify/batch", name="create")
async def create(request: Request, callback: str | None = None) -> Response:
    """Takes a batch in."""
    service = _service(request)
    batch = service.create(_account(request), request.headers["x-api-key"], await request.body())
    if callback is not None and not batch.forgotten:
        cast(Callbacks, request.app.state.callbacks).promise(batch, callback)
    return json_answer({**batch.summary(batch.created), "status": "queued"})


@router.get("/email/verify/batch/{batch_id}", name="status")
async def status(
    request: Request, batch_id: str, with_stats: Annotated[str, Query(alias="with-stats")] = "false"
) -> Response:
    """Tells how far a batch has come."""
    service = _service(request)
    batch = service.status(_account(request), batch_id)
    return json_answer(batch.summary(service.now, with_stats=with_stats.lower() == "true"))


@router.get("/email/verify/batch/{batch_id}/download", name="download")
async def download(request: Request, batch_id: str) -> Response:
    """Hands the results of a batch out."""
    batch = _service(request).download(_account(request), batch_id)
    wants_csv = "text/csv" in request.headers.get("accept", "")
    answer = csv_answer(batch.results()) if wants_csv else results_answer(batch.results())
    return half_json_answer(answer) if batch.garbled else answer


@router.post("/email/verify/batch/{batch_id}/finish", name="finish")
async def finish(request: Request, batch_id: str) -> Response:
    """Stops a batch that runs."""
    _service(request).finish(_account(request), batch_id)
    return json_answer({}, 202)


@router.delete("/email/verify/batch/{batch_id}", name="delete")
async def delete(request: Request, batch_id: str) -> Response:
    """Deletes the addresses and results of a completed batch."""
    _service(request).delete(_account(request), batch_id)
    return json_answer({})


@router.get("/credits", name="credits")
async def credits_left(request: Request) -> Response:
    """Tells how many credits a new batch can use."""
    service = _service(request)
    service.settle()
    return json_answer({"credits": _account(request).left})


@router.get("/email/verify", name="verify")
async def verify(
    request: Request, email: str = "", patience: Annotated[str, Query(alias="timeout")] = "10"
) -> Response:
    """Verifies one address at once."""
    if not email:
        raise ApiError(400, Message.NO_EMAIL)
    service = _service(request)
    service.ledger.timeouts_asked_for[patience] += 1
    return json_answer(service.verify(_account(request), email))


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def _account(request: Request) -> Account:
    return cast(Account, request.state.account)


async def _meet(fault: Fault, request: Request, process: Callable[[], Awaitable[Response]]) -> Response:
    if fault.kind == "refuse":
        return NoAnswer()
    # A client must have sent all of its request before anything happens to the answer.
    await request.body()
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return await process()
    if fault.kind in {"status", "not_completed", "finish_refused"}:
        if fault.processed:
            await process()
        return _refusal(fault)
    return _spoil(fault, await process())


def _refusal(fault: Fault) -> Response:
    if fault.kind == "finish_refused":
        return error_answer(ApiError(400, Message.NOT_RUNNING, sent_as=fault.code or 200))
    if fault.kind == "not_completed":
        code, message = fault.code or 405, str(Message.NOT_COMPLETED)
        if code == 400:
            message = Message.NOT_COMPLETED_YET
    else:
        code, message = fault.code or 503, "a fault of the sandbox"
    error = ApiError(code, fault.message or message, fault.retry_after, sent_as=200 if fault.in_200 else None)
    return gateway_answer(error) if fault.html else error_answer(error)


def _spoil(fault: Fault, answer: Response) -> Response:
    match fault.kind:
        case "cut_body":
            return CutBody(answer, fault.fraction)
        case "malformed":
            return half_json_answer(answer)
        case "slow_body":
            return TrickledBody(answer, fault.seconds)
        case _:
            return NoAnswer()
