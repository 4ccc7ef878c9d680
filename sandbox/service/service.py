"""The service itself: accounts, limits, batches and their credits over time, without HTTP."""

import secrets
import time
from collections.abc import Callable
from typing import Any

import orjson

from sandbox.errors import ApiError, Message, too_many_requests
from sandbox.service.accounts import Account
from sandbox.service.batches import NO_ADDRESSES, Addresses, Batch, iso_time, picked_up_after
from sandbox.service.faults import FaultPlan, Operation
from sandbox.service.ledger import Ledger, of_pass
from sandbox.service.line import Turn
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
        self._in_flight: dict[str, Batch] = {}
        self.now = self.clock()

    def admit(self, key: str, operation: Operation) -> Account:
        """Lets a call through, or not.

        Raises:
            ApiError: 401 for a missing or unknown key, 429 beyond one of the limits.
        """
        if not key:
            raise ApiError(401, Message.NO_KEY)
        account = self.accounts.get(key)
        if account is None:
            raise ApiError(401, Message.UNKNOWN_KEY)
        now = self.clock()
        if operation == "credits":
            limits = [(account.credit_calls, self.settings.credit_calls_per_minute)]
        elif operation == "verify":
            limits = [
                (account.realtime, self.settings.realtime_per_minute),
                (account.realtime_hour, self.settings.realtime_per_hour),
            ]
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
        """Brings every line to the present moment, ``now``, and charges the batches that have completed by then."""
        now = self.now = self.clock()
        # Several keys can open one account.
        for account in {id(account): account for account in self.accounts.values()}.values():
            account.line.advance(now, self.settings.parallel)
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
        unique: dict[str, str] = {}
        for address in sent:
            unique.setdefault(address.lower(), address)
        digests = digests_of(self.settings.seed, unique)
        codes = judge(self.settings.seed, unique, digests, deep=account.deep)
        addresses = Addresses(list(unique.values()), digests, codes)
        held = len(addresses)
        if held > account.left:
            raise ApiError(402, Message.CREDITS_LEFT.format(account.left))
        composition = Composition.of(list(unique))
        seconds = seconds_to_verify(self.settings, composition)
        queued = picked_up_after(seconds)
        batch = Batch(
            batch_id=secrets.token_hex(12),
            serial=len(self.batches),
            account=account,
            key=key,
            addresses=addresses,
            composition=composition,
            quantity=len(sent),
            created=now,
            ready=now + queued,
            work=seconds - queued,
            held=held,
            settings=self.settings,
        )
        account.held += held
        account.line.join(batch)
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
        now = self.now
        batch.status_requests += 1
        batch.first_status_at = batch.first_status_at or now
        return batch

    def download(self, account: Account, batch_id: str) -> Batch:
        """The batch, where its results can be had.

        Raises:
            ApiError: 404 for a batch that the account does not have, 405 before it is completed and once its results
                were removed.
        """
        batch = self._find(account, batch_id, even_deleted=True)
        now = self.now
        if batch.deleted or (batch.removed and batch.is_completed(now)):
            raise ApiError(405, Message.REMOVED)
        if not batch.is_completed(now):
            raise ApiError(405, Message.NOT_COMPLETED)
        batch.downloads += 1
        batch.first_download_at = batch.first_download_at or now
        self.ledger.downloads += 1
        return batch

    def finish(self, account: Account, batch_id: str) -> None:
        """Stops a batch that runs, and gives the credits of its unverified addresses back.

        Raises:
            ApiError: 404 for a batch that the account does not have; a refusal for one that is queued or completed.
        """
        batch = self._find(account, batch_id)
        if batch.started is None or batch.charged is not None:
            raise ApiError(400, Message.NOT_RUNNING, sent_as=self.settings.finish_refusal)
        self.ledger.finished += 1
        batch.stop(self.now, self.settings.finish_seconds)
        still_held = batch.processed(batch.ends)
        account.held -= batch.held - still_held
        batch.held = still_held

    def delete(self, account: Account, batch_id: str) -> None:
        """Deletes the addresses and results of a completed batch.

        Raises:
            ApiError: 404 for a batch that the account does not have or has deleted, 405 for one in flight.
        """
        batch = self._find(account, batch_id)
        if batch.charged is None:
            raise ApiError(405, Message.NOT_DELETABLE)
        batch.deleted = True
        batch.addresses = NO_ADDRESSES
        self.ledger.deleted += 1

    def put_ahead(self, account: Account, seconds: float) -> None:
        """Puts a list of somebody else, from the web app say, into an account's line."""
        self.settle()
        now = self.now
        account.line.join(Turn(created=now, ready=now, work=seconds))

    def clear_ahead(self, account: Account) -> None:
        """Takes the lists of somebody else out of an account's line."""
        self.settle()
        for stranger in account.line.strangers():
            account.line.leave(stranger)
        self.settle()

    def complete(self, batch_id: str) -> None:
        """Completes a batch now, whatever its account; one that is completed stays as it is.

        Raises:
            ApiError: 404 for a batch that there is not.
        """
        if batch_id not in self.batches:
            raise ApiError(404, Message.NO_SUCH_BATCH.format(batch_id))
        self.settle()
        batch = self._in_flight.get(batch_id)
        if batch is not None:
            batch.account.line.leave(batch)
            batch.complete(self.now)
            self.settle()

    def verify(self, account: Account, email: str) -> dict[str, Any]:
        """Verifies one address at once.

        Raises:
            ApiError: 402 without a credit.
        """
        if account.left < 1:
            raise ApiError(402, Message.CREDITS_LEFT.format(account.left))
        address = email.lower()
        digests = digests_of(self.settings.seed, [address])
        code = judge(self.settings.seed, [address], digests, deep=account.deep)[0]
        self.ledger.count_realtime(of_pass(digests, deep=account.deep))
        if CHARGED[code]:
            account.credits -= 1
            account.charged += 1
            self.ledger.count_charge(of_pass(digests, deep=account.deep))
        return render(self.settings.seed, email, int(digests[0]), code, iso_time(self.clock() + 3600))

    def _find(self, account: Account, batch_id: str, *, even_deleted: bool = False) -> Batch:
        self.settle()
        batch = self.batches.get(batch_id)
        if (
            batch is None
            or batch.account is not account
            or batch.forgotten
            or self.now < batch.visible_from
            or (batch.deleted and not even_deleted)
        ):
            raise ApiError(404, Message.NO_SUCH_BATCH.format(batch_id))
        return batch

    def _spoil(self, batch: Batch) -> None:
        fault = self.faults.for_batch()
        if fault is None:
            return
        if fault.kind == "stuck":
            batch.stuck_at = fault.fraction
        elif fault.kind == "late":
            batch.visible_from = batch.created + fault.seconds
        elif fault.kind == "garbled":
            batch.garbled = True
        elif fault.kind == "removed":
            batch.removed = True
        else:
            batch.forgotten = True
            batch.account.line.leave(batch)
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
        raise ApiError(400, Message.MALFORMED) from None
    if not isinstance(items, list) or not items:
        raise ApiError(400, Message.MALFORMED)
    if len(items) > most:
        raise ApiError(400, Message.TOO_MANY_EMAILS, told="404")
    return [_address_in(item) for item in items]


def _address_in(item: Any) -> str:
    address = item.get("email") if isinstance(item, dict) else None
    if not isinstance(address, str) or "\0" in address:
        raise ApiError(400, Message.MALFORMED)
    return address
