"""Plans in which a planted fault can show."""

from tests.simulation.plan import CONTACT_FAILED, Plan
from tests.simulation.service.verdicts import MALFORMED

__all__ = [
    "in_real_time",
    "in_real_time_with_a_deletion",
    "in_real_time_with_a_pause",
    "with_a_cancellation",
    "with_a_cancellation_and_holding",
    "with_a_cap",
    "with_a_deep_pass",
    "with_a_file",
    "with_a_lost_upload_that_cannot_be_repeated",
    "with_a_pause",
    "with_a_pause_and_few_credits",
    "with_a_queue_that_stands",
    "with_a_requeue",
    "with_an_erasure",
    "with_an_outage",
    "with_contacts_without_address",
    "with_faults",
    "with_few_credits",
    "with_lag",
    "with_malformed_addresses",
    "with_malformed_addresses_and_a_deletion",
    "with_one_place",
    "with_others",
    "with_second_chances",
    "with_too_many_slots",
]


def in_real_time(plan: Plan) -> bool:
    """Small requests are verified in real time."""
    return plan.realtime > 0


def in_real_time_with_a_pause(plan: Plan) -> bool:
    """Small requests are verified in real time, and a person pauses an account."""
    return in_real_time(plan) and _has(plan, "pause")


def in_real_time_with_a_deletion(plan: Plan) -> bool:
    """Small requests are verified in real time, and an application deletes a contact."""
    return in_real_time(plan) and _has(plan, "delete a contact")


def with_a_cancellation(plan: Plan) -> bool:
    """A person cancels a request."""
    return _has(plan, "cancel")


def with_a_file(plan: Plan) -> bool:
    """A person imports a file."""
    return _has(plan, "import a file")


def with_an_erasure(plan: Plan) -> bool:
    """A person is erased."""
    return _has(plan, "erase a person")


def with_a_lost_upload_that_cannot_be_repeated(plan: Plan) -> bool:
    """Something goes wrong, and the credits or the addresses may be gone then, or the request cancelled."""
    is_gone = with_few_credits(plan) or with_a_cancellation(plan) or _has(plan, "delete a contact")
    return with_faults(plan) and plan.ambiguous_upload == "resubmit" and is_gone


def with_a_cancellation_and_holding(plan: Plan) -> bool:
    """A person cancels a request, and an account holds lost uploads."""
    return plan.ambiguous_upload == "hold" and with_a_cancellation(plan)


def with_a_cap(plan: Plan) -> bool:
    """A request may cost so many credits and no more."""
    return plan.cap is not None


def with_a_pause(plan: Plan) -> bool:
    """A person pauses an account."""
    return _has(plan, "pause")


def with_a_pause_and_few_credits(plan: Plan) -> bool:
    """A person pauses an account that cannot pay for all."""
    return with_a_pause(plan) and with_few_credits(plan)


def with_a_requeue(plan: Plan) -> bool:
    """A person wants back what has failed."""
    return any(deed.when == CONTACT_FAILED for deed in plan.deeds)


def with_second_chances(plan: Plan) -> bool:
    """Contacts without a clear verdict are verified again."""
    return plan.second_chances > 0


def with_an_outage(plan: Plan) -> bool:
    """Something is away for minutes."""
    return any(deed.what.endswith(" goes away") for deed in plan.deeds)


def with_a_queue_that_stands(plan: Plan) -> bool:
    """Batches are queued at Bouncer behind one that does not move, or behind a colleague's list."""
    return plan.ahead > 0 or (plan.stuck > 0 and not plan.in_parallel and plan.most_in_flight > 1)


def with_a_deep_pass(plan: Plan) -> bool:
    """A person asks for a deep pass."""
    return plan.deep


def with_contacts_without_address(plan: Plan) -> bool:
    """A contact has no address that can be mailed to."""
    return any(" " in address for deed in plan.deeds for address in deed.addresses)


def with_faults(plan: Plan) -> bool:
    """Something goes wrong."""
    return plan.most_faults > 0


def with_few_credits(plan: Plan) -> bool:
    """An account cannot pay for all."""
    return plan.credits < 10_000


def with_lag(plan: Plan) -> bool:
    """Bouncer has the results of a batch a moment after it is completed."""
    return plan.lag > 0


def with_malformed_addresses(plan: Plan) -> bool:
    """Bouncer refuses batches for an address."""
    return any(address.lower().startswith(MALFORMED) for deed in plan.deeds for address in deed.addresses)


def with_malformed_addresses_and_a_deletion(plan: Plan) -> bool:
    """Bouncer refuses batches for an address, and an application deletes a contact."""
    return with_malformed_addresses(plan) and _has(plan, "delete a contact")


def with_one_place(plan: Plan) -> bool:
    """An upload whose answer was lost takes the one place of its account, for a while."""
    is_slow = plan.seconds_an_address * plan.batch_size > 4
    return with_faults(plan) and plan.most_in_flight == 1 and plan.ambiguous_upload == "resubmit" and is_slow


def with_others(plan: Plan) -> bool:
    """Several processes work, and something goes wrong."""
    return plan.workers > 1 and plan.most_faults > 0


def with_too_many_slots(plan: Plan) -> bool:
    """The Prefect server gives more slots than the account may use."""
    return plan.slots_beyond > 0


def _has(plan: Plan, what: str) -> bool:
    return any(deed.what == what for deed in plan.deeds)
