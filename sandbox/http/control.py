"""Controls of the sandbox itself for tests and demos: faults, keys, settings, and its ledger."""

from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Body, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from sandbox.errors import ApiError
from sandbox.service.accounts import Account
from sandbox.service.answers import json_answer
from sandbox.service.batches import Batch
from sandbox.service.faults import Fault
from sandbox.service.ledger import of_pass
from sandbox.service.service import Service
from sandbox.settings import SandboxSettings

__all__ = ["router"]

router = APIRouter(prefix="/_sandbox")
_LASTING = frozenset({"deep_keys", "keys", "seed"})


class _Credits(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str
    credits: NonNegativeInt


class _Ahead(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str
    seconds: NonNegativeFloat


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str
    credits: NonNegativeInt = 0
    deep: bool = False
    same_account_as: str | None = None


@router.get("/health")
async def health() -> Response:
    """Tells that it is there."""
    return json_answer({"ok": True})


@router.get("/faults")
async def faults(request: Request) -> Response:
    """Lists the faults and how often each fired."""
    return json_answer(_service(request).faults.listing())


@router.post("/faults")
async def add_fault(request: Request, fault: Fault) -> Response:
    """Arms a fault."""
    _service(request).faults.add(fault)
    return json_answer(fault.model_dump(), 201)


@router.delete("/faults")
async def clear_faults(request: Request) -> Response:
    """Disarms all faults."""
    _service(request).faults.clear()
    return json_answer({})


@router.post("/credits")
async def set_credits(request: Request, wanted: _Credits) -> Response:
    """Sets how many credits an account has left for new batches."""
    service = _service(request)
    service.settle()
    account = _account(service, wanted.key)
    account.credits = wanted.credits + account.held
    return json_answer({"credits": account.left})


@router.post("/keys")
async def add_key(request: Request, wanted: _Key) -> Response:
    """Adds a key: to an account of its own, or as a further one of an existing account."""
    service = _service(request)
    if wanted.same_account_as is None:
        service.accounts[wanted.key] = Account(wanted.credits, deep=wanted.deep)
    else:
        service.accounts[wanted.key] = _account(service, wanted.same_account_as)
    return json_answer({"credits": service.accounts[wanted.key].left}, 201)


@router.delete("/keys/{key}")
async def revoke_key(request: Request, key: str) -> Response:
    """Revokes a key; its account stays."""
    service = _service(request)
    _account(service, key)
    del service.accounts[key]
    return json_answer({})


@router.post("/ahead")
async def put_ahead(request: Request, wanted: _Ahead) -> Response:
    """Puts a list of somebody else into an account's line, as one that a colleague sends in the web app."""
    service = _service(request)
    service.put_ahead(_account(service, wanted.key), wanted.seconds)
    return json_answer({}, 201)


@router.delete("/ahead/{key}")
async def clear_ahead(request: Request, key: str) -> Response:
    """Takes the lists of somebody else out of an account's line."""
    service = _service(request)
    service.clear_ahead(_account(service, key))
    return json_answer({})


@router.post("/settings")
async def change_settings(request: Request, changes: Annotated[dict[str, Any], Body()]) -> Response:
    """Changes settings from now on; batches in flight keep the speed that they were created with."""
    service = _service(request)
    service.settle()
    if lasting := _LASTING & changes.keys():
        raise HTTPException(422, f"{', '.join(sorted(lasting))} cannot be changed while it runs")
    try:
        service.settings = SandboxSettings.model_validate({**service.settings.model_dump(), **changes})
    except ValidationError as error:
        raise HTTPException(422, error.errors(include_context=False, include_url=False)) from None
    return json_answer(service.settings.model_dump(exclude=set(_LASTING)))


@router.post("/reset")
async def reset(request: Request) -> Response:
    """Forgets everything that happened since the start."""
    _service(request).reset()
    return json_answer({})


@router.post("/batches/{batch_id}/complete")
async def complete(request: Request, batch_id: str) -> Response:
    """Completes a batch now."""
    try:
        _service(request).complete(batch_id)
    except ApiError as error:
        raise HTTPException(error.status, error.message) from None
    return json_answer({})


@router.get("/ledger")
async def ledger(request: Request, *, list: bool = False) -> Response:  # noqa: A002  # the name in the query
    """Shows what the sandbox saw; with ``list`` also the addresses that were in more than one batch."""
    service = _service(request)
    seen = {
        **_settled(service).ledger.as_dict(),
        "in_flight_now": service.in_flight(),
        "credits_by_key": {
            key: {"left": account.left, "held": account.held, "charged": account.charged}
            for key, account in service.accounts.items()
        },
    }
    if list:
        seen["addresses_twice_list"] = _uploaded_twice(service)
    return json_answer(seen)


@router.get("/batches")
async def batches(request: Request) -> Response:
    """Lists all batches, in the order of their creation."""
    service = _settled(_service(request))
    now = service.now
    return json_answer([_described(batch, now) for batch in service.batches.values()])


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def _settled(service: Service) -> Service:
    service.settle()
    return service


def _account(service: Service, key: str) -> Account:
    account = service.accounts.get(key)
    if account is None:
        raise HTTPException(404, "no such key")
    return account


def _uploaded_twice(service: Service) -> list[str]:
    repeated = service.ledger.uploaded.repeated
    found: set[str] = set()
    for batch in service.batches.values():
        places = np.flatnonzero(np.isin(of_pass(batch.addresses.digests, deep=batch.account.deep), repeated))
        texts = batch.addresses.unpacked()
        found.update(texts[place].lower() for place in places)
    return sorted(found)


def _described(batch: Batch, now: float) -> dict[str, Any]:
    status = "deleted" if batch.deleted else "forgotten" if batch.forgotten else batch.status(now)
    return {
        "id": batch.batch_id,
        "key": batch.key,
        "quantity": batch.quantity,
        "duplicates": batch.duplicates,
        "created": batch.created,
        "started_at": batch.started,
        "completed_at": None if batch.charged is None or batch.forgotten else batch.ends,
        "first_status_at": batch.first_status_at,
        "status_requests": batch.status_requests,
        "downloads": batch.downloads,
        "first_download_at": batch.first_download_at,
        "charged": batch.charged,
        "status": status,
        "top_domain_share": batch.composition.top_domain_share,
        "longest_run": batch.composition.longest_run,
    }
