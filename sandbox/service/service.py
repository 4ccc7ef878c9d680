"""The service itself: accounts, limits, batches and their credits over time, without HTTP."""

import random
import secrets
import time
from collections.abc import Callable
from typing import Any

import orjson

from sandbox.errors import ApiError, too_many_requests
from sandbox.service.accounts import Account
from sandbox.service.batches import NO_ADDRESSES, Addresses, Batch, iso_time
from sandbox.service.faults import FaultPlan, Operation
from sandbox.service.ledger import Ledger, of_pass
from sandbox.service.pace import Composition, seconds_to_verify
from sandbox.service.verdicts import CHARGED, digests_of, judge, render
from sandbox.settings import SandboxSettings

__all__ = ["Service"]


class Service:
    """The service behind the HTTP endpoints.

    Args:
        settings: How it behaves.
        clock: Tells the time in epoch seconds.
    """

    def __init__(self, settings: SandboxSettings, clock: Callable[[], float] = time.time) -> None:
        self._initial_settings = settings
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Forgets everything that happened since the start."""
        self.settings = self._initial_settings
        self.accounts = {key: Account(amount) for key, amount in self.settings.keys.items()}
        self.accounts |= {key: Account(amount, deep=True) for key, amount in self.settings.deep_keys.items()}
        self.batches: dict[str, Batch] = {}
        self.ledger = Ledger()
        self.faults = FaultPlan(self.settings.seed)
        self.untidiness = random.Random(self.settings.seed)  # noqa: S311  # repeatable on purpose, no secret
        self._in_flight: dict[str, Batch] = {}

    def admit(self, key: str, operation: Operation) -> Account:
        """Lets a call through, or not.

        Raises:
            ApiError: 401 for an unknown key, 429 beyond one of the limits.
        """
        account = self.accounts.get(key)
        if account is None:
            raise ApiError(401, "user not found")
        now = self.clock()
        if operation == "credits":
            limits = [(account.credit_calls, self.settings.credit_calls_per_minute)]
        elif operation == "verify":
            limits = [(account.realtime, self.settings.realtime_per_minute)]
        else:
            limits = [(account.requests, self.settings.requests_per_minute)]
            if operation == "create":
                limits.append((account.uploads, self.settings.uploads_per_minute))
        for window, limit in limits:
            if window.count(now) >= limit:
                wait = window.seconds_until_next(now) if self.settings.send_retry_after else None
                raise too_many_requests(wait)
        for window, _ in limits:
            window.add(now)
        return account

    def settle(self) -> None:
        """Charges the batches that have completed by now."""
        now = self.clock()
        for batch in [batch for batch in self._in_flight.values() if batch.is_completed(now)]:
            digests = batch.charged_digests()
            self._land(batch, len(digests))
            self.ledger.count_charge(of_pass(digests, deep=batch.account.deep))

    def in_flight(self, account: Account | None = None) -> int:
        """Counts the batches that are queued or processing, of one account or of all."""
        self.settle()
        return sum(account is None or batch.account is account for batch in self._in_flight.values())

    def create(self, account: Account, key: str, body: bytes) -> Batch:
        """Takes a batch in and holds its credits.

        Raises:
            ApiError: 400 for a body that is no list of addresses, 402 without the credits, 429 beyond
                ``max_batches`` where such batches are rejected.
        """
        sent = _addresses_in(body, self.settings.max_batch_size)
        now = self.clock()
        over_limit = self.in_flight(account) >= self.settings.max_batches
        if over_limit and self.settings.reject_over_limit:
            raise too_many_requests(None)
        unique = list(dict.fromkeys(map(str.lower, sent)))
        digests = digests_of(self.settings.seed, unique)
        addresses = Addresses(unique, digests, judge(self.settings.seed, unique, digests, deep=account.deep))
        held = addresses.not_free(len(addresses))
        if held > account.left:
            raise ApiError(402, f"{account.left} credits left")
        composition = Composition.of(unique)
        seconds = seconds_to_verify(self.settings, composition)
        batch = Batch(
            batch_id=secrets.token_hex(12),
            serial=len(self.batches),
            account=account,
            key=key,
            addresses=addresses,
            composition=composition,
            quantity=len(sent),
            created=now,
            seconds=seconds,
            held=held,
            ends=now + seconds,
            settings=self.settings,
        )
        account.held += held
        self.batches[batch.batch_id] = self._in_flight[batch.batch_id] = batch
        self.ledger.batches_over_limit += over_limit
        self.ledger.count_upload(len(sent), of_pass(digests, deep=account.deep), len(self._in_flight))
        self._spoil(batch)
        return batch

    def status(self, account: Account, batch_id: str) -> Batch:
        """The batch, for a client that asks how far it has come.

        Raises:
            ApiError: 404 for a batch that the account does not have.
        """
        batch = self._find(account, batch_id)
        now = self.clock()
        batch.status_requests += 1
        batch.first_status_at = batch.first_status_at or now
        return batch

    def download(self, account: Account, batch_id: str) -> Batch:
        """The batch, where its results can be had.

        Raises:
            ApiError: 404 for a batch that the account does not have, 405 before it is completed and once it was
                deleted.
        """
        batch = self._find(account, batch_id, even_deleted=True)
        now = self.clock()
        if batch.deleted:
            raise ApiError(405, "email addresses and results have been removed")
        if not batch.is_completed(now):
            raise ApiError(405, "batch is not completed")
        batch.downloads += 1
        batch.first_download_at = batch.first_download_at or now
        self.ledger.downloads += 1
        return batch

    def finish(self, account: Account, batch_id: str) -> None:
        """Stops a batch and gives the credits of its unverified addresses back; a completed one stays as it is.

        Raises:
            ApiError: 404 for a batch that the account does not have.
        """
        batch = self._find(account, batch_id)
        self.ledger.finished += 1
        if batch.charged is None:
            self._stop(batch, self.settings.finish_seconds)

    def delete(self, account: Account, batch_id: str) -> None:
        """Deletes a batch and its results; one in flight is stopped and charged first.

        Raises:
            ApiError: 404 for a batch that the account does not have.
        """
        batch = self._find(account, batch_id)
        if batch.charged is None:
            self._stop(batch, 0.0)
            self.settle()
        batch.deleted = True
        batch.addresses = NO_ADDRESSES
        self.ledger.deleted += 1

    def complete(self, batch_id: str) -> None:
        """Completes a batch now, whatever its account.

        Raises:
            ApiError: 404 for a batch that is not in flight.
        """
        self.settle()
        batch = self._in_flight.get(batch_id)
        if batch is None:
            raise ApiError(404, "no such batch in flight")
        batch.complete(self.clock())
        self.settle()

    def verify(self, account: Account, email: str) -> dict[str, Any]:
        """Verifies one address at once.

        Raises:
            ApiError: 402 without a credit.
        """
        if account.left < 1:
            raise ApiError(402, f"{account.left} credits left")
        address = email.lower()
        digests = digests_of(self.settings.seed, [address])
        code = judge(self.settings.seed, [address], digests, deep=account.deep)[0]
        self.ledger.count_realtime(of_pass(digests, deep=account.deep))
        if CHARGED[code]:
            account.credits -= 1
            account.charged += 1
            self.ledger.count_charge(of_pass(digests, deep=account.deep))
        return render(self.settings.seed, address, int(digests[0]), code, iso_time(self.clock() + 3600))

    def _stop(self, batch: Batch, seconds: float) -> None:
        batch.stop(self.clock(), seconds)
        still_held = batch.addresses.not_free(batch.processed(batch.ends))
        batch.account.held -= batch.held - still_held
        batch.held = still_held

    def _find(self, account: Account, batch_id: str, *, even_deleted: bool = False) -> Batch:
        self.settle()
        batch = self.batches.get(batch_id)
        if (
            batch is None
            or batch.account is not account
            or batch.forgotten
            or self.clock() < batch.visible_from
            or (batch.deleted and not even_deleted)
        ):
            raise ApiError(404, "batch not found")
        return batch

    def _spoil(self, batch: Batch) -> None:
        fault = self.faults.for_batch()
        if fault is None:
            return
        if fault.kind == "stuck":
            batch.stick(fault.fraction)
        elif fault.kind == "late":
            batch.visible_from = batch.created + fault.seconds
        elif fault.kind == "garbled":
            batch.garbled = True
        else:
            batch.forgotten = True
            self._land(batch, 0)

    def _land(self, batch: Batch, charged: int) -> None:
        del self._in_flight[batch.batch_id]
        batch.charged = charged
        batch.account.held -= batch.held
        batch.account.credits -= charged
        batch.account.charged += charged


def _addresses_in(body: bytes, most: int) -> list[str]:
    try:
        items = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError(400, "malformed body") from None
    if not isinstance(items, list) or not items:
        raise ApiError(400, "malformed body")
    if len(items) > most:
        raise ApiError(400, "too many emails")
    return [_address_in(item) for item in items]


def _address_in(item: Any) -> str:
    address = item.get("email") if isinstance(item, dict) else None
    if not isinstance(address, str) or "\0" in address:
        raise ApiError(400, "malformed body")
    return address
