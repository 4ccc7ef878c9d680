"""Planted faults that cost money: uploads, their answers, and what is known already."""

from tests.simulation.planted.planting import Planted
from tests.simulation.planted.where import (
    in_real_time,
    in_real_time_with_a_deletion,
    with_a_cancellation,
    with_a_cancellation_and_holding,
    with_a_cap,
    with_a_lost_upload_that_cannot_be_repeated,
    with_faults,
    with_others,
)

__all__ = ["MONEY"]

_UPLOAD = "bouncer.steps.upload"
_CLIENT = "bouncer.api.client"
_FAILURES = "bouncer.api.failures"
_TRANSITIONS = "bouncer.batches.transitions"
_TABLE = "bouncer.batches.transition_table"
_ADMISSION = "bouncer.batches.admission"
_CLAIMING = "bouncer.queue.claiming"
_REALTIME = "bouncer.batches.realtime"


MONEY = (
    Planted(
        "an upload whose owner died is sent again without being counted",
        _UPLOAD,
        "        lost += 1\n        await _count_lost(access, run, batch, lost)\n    persistent",
        "        await transitions.record_refused_upload(access, batch)\n    persistent",
    ),
    Planted(
        "an upload whose answer was lost is taken for a refused one",
        _CLIENT,
        "if begun and (request.seconds is None or isinstance(error, CERTAINLY_REFUSED)):",
        "if begun:",
    ),
    Planted(
        "a gateway's error on an upload is taken for Bouncer being away",
        _FAILURES,
        "return UploadOutcomeUnknown(said) if call in PAID else BouncerUnavailable(said)",
        "return BouncerUnavailable(said)",
    ),
    Planted(
        "a broken connection during an upload is taken for one that was never made",
        _FAILURES,
        'return UploadOutcomeUnknown(f"the answer to {_NAMED[call]} was lost ({name})")',
        'return BouncerUnavailable(f"the answer to {_NAMED[call]} was lost ({name})")',
        shows_in=with_faults,
    ),
    Planted(
        "an upload of unknown outcome is repeated by the client itself",
        _FAILURES,
        "WORTH_ANOTHER_ATTEMPT = (BouncerUnavailable, DownloadTruncated)",
        "WORTH_ANOTHER_ATTEMPT = (BouncerUnavailable, DownloadTruncated, UploadOutcomeUnknown)",
        shows_in=with_faults,
    ),
    Planted(
        "that an upload begins is not written down",
        _ADMISSION,
        "    transitions.begin_upload(connection, batch, addresses)\n",
        "",
    ),
    Planted(
        "that an upload begins is written down after it, not before",
        _CLIENT,
        "        if sending is not None:\n            await sending()\n        await self._gate.renew(request.ticket)\n"
        "        began = time.monotonic()\n        try:\n",
        "        await self._gate.renew(request.ticket)\n        began = time.monotonic()\n        try:\n"
        "            if sending is not None and self._gate is None:\n                await sending()\n",
    ),
    Planted(
        "a lost upload is not counted",
        _TRANSITIONS,
        "ambiguous_uploads=Batch.ambiguous_uploads + 1,",
        "ambiguous_uploads=Batch.ambiguous_uploads,",
    ),
    Planted(
        "the row of a batch with a lost upload is deleted when it cannot be sent",
        _TABLE,
        "{_READY: (None,), **_all({_TO_RESEND, _UPLOADING, _ASKING}, _FAILED)},",
        "{_READY: (None,), _TO_RESEND: (None,), **_all({_UPLOADING, _ASKING}, _FAILED)},",
        shows_in=with_a_lost_upload_that_cannot_be_repeated,
    ),
    Planted(
        "a cancellation undoes a batch that is just being uploaded",
        _TABLE,
        "{_READY: (None,), _TO_RESEND: (_FAILED,)},",
        "{_READY: (None,), _TO_RESEND: (_FAILED,), _UPLOADING: (_FAILED,)},",
        shows_in=with_a_cancellation,
    ),
    Planted(
        "a lost upload is sent again although the account holds such",
        _UPLOAD,
        '    hold = access.account.ambiguous_upload == "hold" or await caps.repeat_would_pass(\n',
        "    hold = await caps.repeat_would_pass(\n",
    ),
    Planted(
        "uploads are not counted outside of the database",
        _UPLOAD,
        "        await mark_upload(access, run)\n",
        "        pass\n",
    ),
    Planted(
        "uploads are not counted in the database",
        _ADMISSION,
        "    count_upload(connection, batch.account)\n",
        "",
    ),
    Planted(
        "an owner whose batch was taken over may still write to it",
        "bouncer.batches.ownership",
        "        statement.where(Batch.id == batch.id, Batch.owner == batch.owner).values(",
        "        statement.where(Batch.id == batch.id).values(",
        shows_in=with_others,
    ),
    Planted(
        "a fresh verdict is not used again",
        _CLAIMING,
        "    reused = reuse_verdicts(connection, valid, fresh_for, source.layer)\n",
        "    reused: set[int] = set()\n",
    ),
    Planted(
        "an address that is in a batch in flight goes into another one",
        _CLAIMING,
        "    joined, held_back = join_batches_in_flight(connection, valid, source.layer)\n",
        "    joined, held_back = set(), set()\n",
    ),
    Planted(
        "of a batch that was lost, nothing is declared",
        _TRANSITIONS,
        "message, lost_addresses=at_most)",
        "message)",
    ),
    Planted(
        "the ledger has the verified addresses, not the credits",
        _TRANSITIONS,
        "        credits=credits_charged,\n",
        "        credits=processed,\n",
    ),
    Planted(
        "addresses in real time are not written down before they are sent",
        _REALTIME,
        "    transitions.begin_asking(connection, batch, addresses)\n",
        "    transitions.begin_asking(connection, batch, 0)\n",
        shows_in=in_real_time,
    ),
    Planted(
        "answers in real time that a dead run waited for are not counted",
        _TRANSITIONS,
        "(Batch.ambiguous_addresses, Batch.ambiguous_addresses + Batch.unanswered),\n            (Batch.held_ts",
        "(Batch.ambiguous_addresses, Batch.ambiguous_addresses),\n            (Batch.held_ts",
        shows_in=in_real_time,
    ),
    Planted(
        "answers in real time that were lost are not counted",
        _TRANSITIONS,
        "        ambiguous_addresses=Batch.ambiguous_addresses + lost,\n",
        "        ambiguous_addresses=Batch.ambiguous_addresses,\n",
        shows_in=in_real_time,
    ),
    Planted(
        "what was answered in real time beside a 429 is asked for again",
        "bouncer.steps.realtime",
        "    addresses = await realtime.next_addresses(access, batch, AT_ONCE, progress.lost)\n",
        '    asked = vars(progress).get("asked")\n'
        "    addresses = asked or await realtime.next_addresses(access, batch, AT_ONCE, progress.lost)\n"
        '    vars(progress)["asked"] = addresses\n',
        also=(
            (
                "            raise answer\n    return True\n",
                '            raise answer\n    vars(progress).pop("asked")\n    return True\n',
            ),
        ),
        shows_in=in_real_time,
    ),
    Planted(
        "verdicts in real time count again where the answer to their commit was lost",
        _REALTIME,
        "    if transitions.lock(connection, batch).unanswered == 0:\n",
        "    if transitions.lock(connection, batch).unanswered < 0:\n",
        shows_in=in_real_time,
    ),
    Planted(
        "a lost upload of a cancelled request is held",
        _TRANSITIONS,
        "    hold = hold and not _is_cancelled(connection, batch)\n    _by_owner(\n        connection,\n"
        "        batch,\n        LOST_UPLOAD,\n",
        "    _by_owner(\n        connection,\n        batch,\n        LOST_UPLOAD,\n",
        shows_in=with_a_cancellation_and_holding,
    ),
    Planted(
        "the ledger leaves out what was answered in real time on a contact that is gone",
        _REALTIME,
        "expected=expected_credits(matched) + prepared.unmatched_credits,",
        "expected=expected_credits(matched),",
        shows_in=in_real_time_with_a_deletion,
    ),
    Planted(
        "one address more than the cap of a request allows is claimed",
        _CLAIMING,
        "iloc[: min(caps)])]",
        "iloc[: min(caps) + 1])]",
        shows_in=with_a_cap,
    ),
    Planted(
        "a lost upload is sent again although the cap of its request would be passed",
        _UPLOAD,
        '    hold = access.account.ambiguous_upload == "hold" or await caps.repeat_would_pass(\n'
        "        access, batch.request_id, batch.quantity\n    )\n",
        '    hold = access.account.ambiguous_upload == "hold"\n',
        shows_in=with_a_cap,
    ),
)
