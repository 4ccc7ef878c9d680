"""The ledger counts exactly what reached the service."""

from tests.sandbox.client import Api

PEOPLE = [f"person{number}@company{number % 7}.com" for number in range(30)]


def test_the_busiest_minute_is_found(api: Api) -> None:
    """The most calls in any 60 seconds count over window borders, and calls exactly 60 seconds apart do not meet."""
    for _ in range(3):
        api.credits()
    api.clock.advance(59)
    for _ in range(4):
        api.credits()
    api.clock.advance(1)
    for _ in range(2):
        api.credits()
    api.clock.advance(300)
    api.credits()
    ledger = api.ledger()
    assert ledger["requests"] == 10
    assert ledger["requests_by_operation"] == {"credits": 10}
    assert ledger["most_requests_in_60s"] == 7


def test_control_calls_are_not_counted(api: Api) -> None:
    """Looking at the ledger leaves it as it was."""
    assert api.ledger() == api.ledger()
    assert api.ledger()["requests"] == 0


def test_batches_in_flight_are_counted_at_their_moments(api: Api) -> None:
    """A batch that nobody asked about since leaves the count at the moment of its completion."""
    api.created("a@example.com")
    api.clock.advance(60)
    api.created("b@example.com")
    api.clock.advance(60)
    api.created("c@example.com")
    ledger = api.ledger()
    assert (ledger["most_in_flight"], ledger["in_flight_now"]) == (2, 2)
    api.clock.advance(1000)
    ledger = api.ledger()
    assert (ledger["most_in_flight"], ledger["in_flight_now"]) == (2, 0)


def test_addresses_that_were_sent_again_are_found(api: Api) -> None:
    """An address in two batches is told apart from one that was repeated within a batch."""
    api.created(*PEOPLE, PEOPLE[0])
    api.created("Person3@Company3.com", PEOPLE[4], "someone@new.com")
    api.created(PEOPLE[4])
    ledger = api.ledger(list="true")
    assert ledger["addresses_uploaded"] == 35
    assert ledger["addresses_unique"] == 31
    assert ledger["addresses_twice"] == 2
    assert ledger["addresses_twice_list"] == [PEOPLE[3], PEOPLE[4]]


def test_only_what_was_paid_again_counts_as_charged_twice(api: Api) -> None:
    """An address that was sent again because its batch was finished early is paid for once."""
    api.settings(parallel=2)
    first = api.created(*PEOPLE)
    api.clock.advance(50)
    verified = api.status(first).json()["processed"]
    api.finish(first)
    second = api.created(*PEOPLE[verified:])
    api.clock.advance(100)
    ledger = api.ledger()
    assert ledger["addresses_twice"] == 30 - verified
    assert ledger["addresses_charged_twice"] == 0
    charged = api.status(first).json()["credits"] + api.status(second).json()["credits"]
    assert ledger["credits_charged"] == ledger["addresses_charged"] == charged
    api.completed(*PEOPLE)
    ledger = api.ledger()
    assert ledger["addresses_charged_twice"] == charged
    assert ledger["credits_charged"] == 2 * charged
    assert ledger["addresses_charged"] == charged


def test_every_batch_is_described(api: Api) -> None:
    """A batch tells when it was first asked about and downloaded, and how it was laid out."""
    batch_id = api.created("a@x.com", "b@x.com", "c@x.com", "d@y.com", "A@x.com")
    created = api.clock.now
    api.clock.advance(30)
    api.status(batch_id)
    api.status(batch_id)
    api.clock.advance(80)
    api.download(batch_id)
    described = api.control("GET", "/batches")[0]
    charged = described.pop("charged")
    assert 0 <= charged <= 4
    assert described == {
        "id": batch_id,
        "key": "sandbox-key",
        "quantity": 5,
        "duplicates": 1,
        "created": created,
        "started_at": created + 1,
        "completed_at": created + 100,
        "first_status_at": created + 30,
        "status_requests": 2,
        "downloads": 1,
        "first_download_at": created + 110,
        "status": "completed",
        "top_domain_share": 0.75,
        "longest_run": 3,
    }


def test_calls_that_change_batches_are_counted(api: Api) -> None:
    """Downloads, finishes and deletions stand in the ledger once they succeed."""
    batch_id = api.created(*PEOPLE)
    api.download(batch_id)
    api.finish(batch_id)
    api.clock.advance(50)
    api.finish(batch_id)
    api.delete(batch_id)
    api.clock.advance(5)
    api.download(batch_id)
    api.delete(batch_id)
    api.delete(batch_id)
    ledger = api.ledger()
    assert (ledger["downloads"], ledger["finished"], ledger["deleted"]) == (1, 1, 1)
    assert ledger["requests_by_operation"] == {"create": 1, "download": 2, "finish": 2, "delete": 3}


def test_each_key_has_its_own_busiest_minute(api: Api, other_api: Api) -> None:
    """The limit is an account's, so the count can be read for each key."""
    api.credits()
    api.credits()
    other_api.credits()
    assert api.ledger()["most_requests_in_60s_by_key"] == {"sandbox-key": 2, "other-key": 1}
