"""Planted faults that break the rules or lose contacts: limits, pauses, states, loads, figures."""

from tests.simulation.planted.planting import Planted
from tests.simulation.planted.where import (
    in_real_time,
    in_real_time_with_a_pause,
    with_a_cancellation,
    with_a_deep_pass,
    with_a_file,
    with_a_pause,
    with_a_pause_and_few_credits,
    with_a_queue_that_stands,
    with_a_requeue,
    with_an_erasure,
    with_an_outage,
    with_contacts_without_address,
    with_faults,
    with_few_credits,
    with_lag,
    with_malformed_addresses,
    with_malformed_addresses_and_a_deletion,
    with_one_place,
    with_second_chances,
    with_too_many_slots,
)

__all__ = ["ORDER"]

_TRANSITIONS = "bouncer.batches.transitions"
_ACCOUNTS = "bouncer.accounts.state"
_ADMISSION = "bouncer.batches.admission"
_LOAD = "bouncer.batches.load"
_MATCHING = "bouncer.verdicts.matching"
_ENDINGS = "bouncer.batches.endings"
_UPLOAD = "bouncer.steps.upload"


ORDER = (
    Planted(
        "one batch too many may be in flight",
        _ADMISSION,
        "return others + 1 + int(lost) <= max_batches",
        "return others + int(lost) <= max_batches",
        shows_in=with_too_many_slots,
    ),
    Planted(
        "batches that are just being uploaded do not count as in flight",
        _ADMISSION,
        "        (is_in(*IN_FLIGHT), lost + 1),\n",
        "        (is_in(*(IN_FLIGHT - {BatchState.UPLOADING})), lost + 1),\n",
        shows_in=with_too_many_slots,
    ),
    Planted(
        "an upload that was lost does not count as in flight",
        _ADMISSION,
        "return others + 1 + int(lost) <= max_batches",
        "return others + 1 <= max_batches",
        shows_in=with_one_place,
    ),
    Planted(
        "an upload that was lost counts as in flight for two seconds only",
        _ADMISSION,
        "LOST_IN_FLIGHT_SECONDS = 70",
        "LOST_IN_FLIGHT_SECONDS = 2",
        shows_in=with_one_place,
    ),
    Planted(
        "a lost upload of a batch that was cancelled or erased does not count as in flight",
        _ADMISSION,
        "return int(under_way or 0) + int(ended or 0)",
        "return int(under_way or 0)",
        shows_in=with_one_place,
    ),
    Planted(
        "when an answer was lost is not written down",
        "bouncer.batches.ownership",
        "        update(Batch).where(or_(Batch.progress_ts.is_(None), Batch.progress_ts < Batch.upload_begun_ts)),\n",
        "        update(Batch).where(Batch.progress_ts > Batch.upload_begun_ts),\n",
        shows_in=with_one_place,
    ),
    Planted(
        "an upload begins although the account is paused",
        _ADMISSION,
        "    if paused is not None and not is_called:\n        return Admission.PAUSED\n",
        "",
    ),
    Planted(
        "an upload begins although its request is cancelled",
        _ADMISSION,
        "    if is_cancelled(connection, batch.request_id):\n        return Admission.CANCELLED\n",
        "",
        shows_in=with_a_cancellation,
    ),
    Planted(
        "real time goes on although the account is paused",
        "bouncer.batches.realtime",
        "    if paused is not None:\n        return Admission.PAUSED\n",
        "",
        shows_in=in_real_time_with_a_pause,
    ),
    Planted(
        "requests pass without a token",
        "bouncer.api.request_gate",
        "                await self._limiter.acquire(call)\n",
        "",
    ),
    Planted(
        "a dead owner is believed alive",
        "bouncer.batches.ownership",
        "Batch.heartbeat_ts.is_(None), age_seconds(Batch.heartbeat_ts) > STALE_SECONDS)",
        "Batch.heartbeat_ts.is_(None))",
    ),
    Planted(
        "an address without a verdict is taken for settled",
        _LOAD,
        "    if contacts.empty:\n        return 0\n",
        "    return 0\n",
    ),
    Planted(
        "verdicts are joined by position",
        _MATCHING,
        'matched = contacts.merge(clearest.drop_duplicates("address_key", keep="last"), on="address_key", how="inner")',
        "matched = contacts.reset_index(drop=True).join(\n"
        '        answers.drop(columns="address_key").reset_index(drop=True), how="inner"\n'
        "    )",
    ),
    Planted(
        "verdicts go into the results and not to the contacts",
        "bouncer.verdicts.storing",
        "            bouncer_status=Result.bouncer_status,\n",
        "",
    ),
    Planted(
        "contacts without an address stay in the queue",
        "bouncer.queue.claiming",
        '    for reason, contacts in invalid.groupby("reason"):\n',
        '    for reason, contacts in invalid.head(0).groupby("reason"):\n',
        shows_in=with_contacts_without_address,
    ),
    Planted(
        "a refused batch of two is not parted",
        _ENDINGS,
        "    is_alone = len(keys) < 2 and sent < 2\n",
        "    is_alone = len(keys) < 3\n",
    ),
    Planted(
        "an address fails for others that were refused with it and are gone",
        _ENDINGS,
        "    is_alone = len(keys) < 2 and sent < 2\n",
        "    is_alone = len(keys) < 2\n",
        shows_in=with_malformed_addresses_and_a_deletion,
    ),
    Planted(
        "a refused batch is sent again and again",
        "bouncer.api.failures",
        "        case 400 | 413 | 422 if call in PAID:\n            return AddressesRefused(said)\n",
        "",
        shows_in=with_malformed_addresses,
    ),
    Planted(
        "a second chance is taken for ever",
        "bouncer.queue.due_second_chances",
        ".values(try_again_ts=None, chances=SecondChance.chances + 1)",
        ".values(try_again_ts=SecondChance.try_again_ts)",
    ),
    Planted(
        "the figures of a request count failed contacts as done",
        "bouncer.requests.progress",
        '"bouncer_done": counted.completed,',
        '"bouncer_done": counted.settled,',
        shows_in=with_contacts_without_address,
    ),
    Planted(
        "a batch that Bouncer does not know yet is given up",
        "bouncer.steps.retries",
        "retry=retry_if_exception_type((BatchLost, BatchNotCompleted)),",
        "retry=retry_if_exception_type(()),",
        shows_in=with_lag,
    ),
    Planted(
        "a deadline counts while a batch is queued, and a refused finish is taken for granted",
        "bouncer.steps.poll",
        "            if watch.is_running and (\n",
        "            if (\n",
        also=(
            (
                '        run.log.warning("%s; the batch is finished at a later poll", error)\n        return\n',
                '        run.log.warning("%s; the batch is finished at a later poll", error)\n',
            ),
        ),
        shows_in=with_a_queue_that_stands,
    ),
    Planted(
        "an upload that the account cannot pay for is taken for a refused one",
        "bouncer.api.failures",
        "return OutOfCredits(said)",
        "return AddressesRefused(said) if call in PAID else OutOfCredits(said)",
        shows_in=with_few_credits,
    ),
    Planted(
        "an import that goes on queues again what was queued before it was killed",
        "bouncer.files.importing",
        "            .having(func.count(QueuedContact.queue_id) == 0)\n",
        "",
        shows_in=with_a_file,
    ),
    Planted(
        "a deep pass takes contacts that wait for it already",
        "bouncer.repeats.deep_pass",
        ".where(risk.condition(), ~is_there, ~is_answered)",
        ".where(risk.condition(), ~is_answered)",
        shows_in=with_a_deep_pass,
    ),
    Planted(
        "a file is imported, and nothing of it is queued",
        "bouncer.files.importing",
        ".having(func.count(QueuedContact.queue_id) == 0)",
        ".having(func.count(QueuedContact.queue_id) < 0)",
        shows_in=with_a_file,
    ),
    Planted(
        "an erased contact stays",
        "bouncer.erasure.contacts",
        "delete(Contact).where(those)",
        "delete(Contact).where(those, Contact.global_id < 0)",
        shows_in=with_an_erasure,
    ),
    Planted(
        "a batch fails after its first lost upload",
        _UPLOAD,
        "MOST_LOST_UPLOADS = 5",
        "MOST_LOST_UPLOADS = 1",
        shows_in=with_faults,
    ),
    Planted(
        "a lost upload is held although the account sends it again",
        _UPLOAD,
        "record_lost_upload(access, batch, hold=hold)",
        "record_lost_upload(access, batch, hold=True)",
        shows_in=with_faults,
    ),
    Planted(
        "real time goes on after a restore",
        "bouncer.steps.realtime",
        "    await pause_if_older(access, run)\n",
        "",
        shows_in=in_real_time,
    ),
    Planted(
        "the pause of a person ends as soon as there are credits",
        _ACCOUNTS,
        "return self.paused_kind is PauseKind.OUT_OF_CREDITS",
        "return self.paused_ts is not None",
        also=(("statement = statement.where(Account.paused_kind == only_kind)", "pass"),),
        shows_in=with_a_pause,
    ),
    Planted(
        "the lack of credits takes the place of a person's pause",
        _ACCOUNTS,
        "replaceable = [] if kind is PauseKind.OUT_OF_CREDITS else [Account.paused_kind == PauseKind.OUT_OF_CREDITS]",
        "replaceable = [Account.paused_kind.is_not(None)]",
        shows_in=with_a_pause_and_few_credits,
    ),
    Planted(
        "a requeue leaves dead letters unread",
        "bouncer.requests.requeueing",
        "letters = _mark_reviewed(engine, scope)",
        "letters = 0",
        shows_in=with_a_requeue,
    ),
    Planted(
        "a requeue passes over what failed more than once",
        "bouncer.requests.requeueing",
        "worth_it = QueuedContact.attempts > 0",
        "worth_it = QueuedContact.attempts == 1",
        shows_in=with_a_requeue,
    ),
    Planted(
        "a batch has one address more than the account's block allows",
        "bouncer.queue.claiming",
        'lay_out(addresses["domain"], batch_size)',
        'lay_out(addresses["domain"], batch_size + 1)',
    ),
    Planted(
        "a cancellation leaves in the queue what was claimed before",
        "bouncer.requests.cancelling",
        "return QueuedContact.request_id == request_id, QueuedContact.status == QueueStatus.QUEUED",
        "return QueuedContact.request_id == request_id, QueuedContact.status == QueueStatus.QUEUED, "
        "QueuedContact.attempts == 0",
        shows_in=with_a_cancellation,
    ),
    Planted(
        "a second chance is taken an hour late",
        "bouncer.queue.due_second_chances",
        ".where(SecondChance.try_again_ts <= now)",
        ".where(SecondChance.try_again_ts <= now - timedelta(seconds=3_600))",
        shows_in=with_second_chances,
    ),
    Planted(
        "an answer does not close the circuit breaker",
        "bouncer.accounts.circuit_breaker",
        "            breaker_state=State.CLOSED,\n",
        "            breaker_state=State.OPEN,\n",
        shows_in=with_an_outage,
    ),
)
