"""The plan of a history: all that its seed decides before it begins."""

from dataclasses import dataclass

__all__ = ["CONTACT_FAILED", "Aim", "Deed", "Plan"]

CONTACT_FAILED = "failed contact"
"""In place of a state: the moment at which a contact has failed."""


@dataclass(frozen=True)
class Deed:
    """What a person does, and when.

    Attributes:
        at: In seconds from the beginning.
        what: Such as ``import`` or ``cancel``.
        addresses: For an import.
        share: A number from 0 to 1 for whatever has to be chosen more.
        when: The state that a batch must just have reached, as the diagram has it, or that a contact has failed; empty
            for no matter which.
        patience: For how many seconds it waits for that.
    """

    at: float
    what: str
    addresses: tuple[str, ...] = ()
    share: float = 0.0
    when: str = ""
    patience: float = 20.0


@dataclass(frozen=True)
class Aim:
    """A way of a batch, and the mishap on it that a history aims at.

    Attributes:
        edge: A way of the diagram.
        fate: What is to happen to the process at the commit that takes the first batch there.
    """

    edge: tuple[str, str]
    fate: str


@dataclass(frozen=True)
class Plan:
    """The plan of a history.

    Attributes:
        seed: What it was made from.
        workers: How many processes work.
        accounts: How many accounts pay.
        deep: Whether one more looks deeper at what the others leave in doubt.
        batch_size: The most addresses in a batch.
        most_in_flight: The most batches of an account at Bouncer.
        slots_beyond: How many slots more the Prefect server gives, since people can change its limits.
        in_parallel: Whether Bouncer runs an account's batches side by side.
        seconds_an_address: How long Bouncer takes for one.
        ahead: For how long a list that a colleague sent by other means keeps Bouncer busy at first, in seconds.
        stuck: How likely a batch stands still.
        removed: How likely the results of a batch are removed before anybody fetches them.
        vanishing: How likely Bouncer loses a batch while it has it.
        lag: For how long Bouncer does not know a batch that it has just taken, or has the results of one just done.
        requests_a_minute: The ceiling of all requests of an account.
        credits: What each account can pay for at the beginning.
        cap: Credits that the first request may cost; None for any number.
        ambiguous_upload: ``resubmit`` or ``hold``.
        callbacks: Whether Bouncer is told where to call.
        realtime: The most addresses of a request that is verified in real time.
        poll_seconds_max: The longest time between two looks at a batch.
        check_seconds: The time between two looks of a worker at accounts and at what others left behind.
        checks_first: Whether a worker looks at accounts before anything else.
        count_seconds: The time between two counts of a request's contacts.
        deadline: Seconds without progress after which a batch is finished.
        queue_ahead: The longest that an upload may have to wait in Bouncer's queue, in seconds; 0 for any time.
        second_chances: How often a contact without a clear verdict is retried.
        delete: Whether Bouncer is asked to delete what is loaded.
        clocks: How many seconds the clocks of Bouncer and of the database are wrong.
        rates: How likely anything goes wrong at a point of a kind.
        most_faults: How much goes wrong in all.
        quiet_after: When nothing goes wrong any more, in seconds.
        deeds: What people do, in order.
        aim: What is to go wrong on which way of a batch, at the first that goes it; None for nothing.
    """

    seed: int
    workers: int
    accounts: int
    deep: bool
    batch_size: int
    most_in_flight: int
    slots_beyond: int
    in_parallel: bool
    seconds_an_address: float
    ahead: float
    stuck: float
    removed: float
    vanishing: float
    lag: float
    requests_a_minute: int
    credits: int
    cap: int | None
    ambiguous_upload: str
    callbacks: bool
    realtime: int
    poll_seconds_max: float
    check_seconds: float
    checks_first: bool
    count_seconds: int
    deadline: float
    queue_ahead: float
    second_chances: int
    delete: bool
    clocks: tuple[float, float]
    rates: dict[str, float]
    most_faults: int
    quiet_after: float
    deeds: tuple[Deed, ...]
    aim: Aim | None = None
