"""The limits on calls and on batches in flight."""

from tests.sandbox.client import Api


def test_no_more_than_200_calls_pass_in_any_minute(api: Api) -> None:
    """The 201st call within 60 seconds answers 429, and passes once the first has left the window."""
    batch_id = api.created("a@example.com")
    for _ in range(99):
        assert api.status(batch_id).status_code == 200
    api.clock.advance(30)
    for _ in range(100):
        assert api.status(batch_id).status_code == 200
    answer = api.status(batch_id)
    assert answer.status_code == 429
    assert answer.json()["message"] == "too many requests"
    assert answer.headers["retry-after"] == "30"
    api.clock.advance(29.5)
    assert api.status(batch_id).status_code == 429
    api.clock.advance(0.5)
    assert api.status(batch_id).status_code == 200
    ledger = api.ledger()
    assert ledger["most_requests_in_60s"] == 202
    assert ledger["answers_by_status"]["429"] == 2


def test_uploads_have_a_limit_of_their_own(api: Api) -> None:
    """The 61st upload within 60 seconds answers 429 while other calls pass."""
    api.settings(max_batches=100)
    for number in range(60):
        batch_id = api.created(f"person{number}@example.com")
    assert api.create("one@example.com").status_code == 429
    assert api.status(batch_id).status_code == 200
    assert api.ledger()["most_uploads_in_60s"] == 61


def test_calls_for_credits_are_limited_apart(api: Api) -> None:
    """The 11th call for the credits within 60 seconds answers 429 and takes nothing from the other calls."""
    for _ in range(10):
        api.credits()
    assert api.http.get("/credits").status_code == 429
    api.settings(requests_per_minute=1)
    assert api.create("a@example.com").status_code == 200


def test_retry_after_can_be_kept_back(api: Api) -> None:
    """A 429 need not say when to come again."""
    api.settings(requests_per_minute=1, send_retry_after=False)
    api.created("a@example.com")
    assert "retry-after" not in api.create("b@example.com").headers


def test_a_limit_is_one_account_s(api: Api, other_api: Api) -> None:
    """What one account asks leaves the limits of another alone."""
    api.settings(requests_per_minute=1)
    api.created("a@example.com")
    assert api.create("b@example.com").status_code == 429
    assert other_api.create("b@example.com").status_code == 200


def test_batches_beyond_the_limit_are_recorded(api: Api) -> None:
    """A batch too many is taken, and stands in the ledger against the client."""
    api.settings(max_batches=2)
    for number in range(3):
        api.created(f"person{number}@example.com")
    ledger = api.ledger()
    assert (ledger["batches_over_limit"], ledger["most_in_flight"]) == (1, 3)


def test_batches_beyond_the_limit_can_be_rejected(api: Api) -> None:
    """A batch too many answers 429 until one of the others has completed, where the sandbox is told so."""
    api.settings(max_batches=2, reject_over_limit=True)
    api.created("a@example.com")
    api.clock.advance(50)
    api.created("b@example.com")
    assert api.create("c@example.com").status_code == 429
    api.clock.advance(50)
    assert api.create("c@example.com").status_code == 200
    assert api.ledger()["most_in_flight"] == 2


def test_real_time_has_an_hourly_limit(api: Api) -> None:
    """Beyond so many addresses an hour the real-time call answers 429, and other calls pass."""
    api.settings(realtime_per_hour=2)
    for number in range(2):
        assert api.http.get("/email/verify", params={"email": f"a{number}@x.com"}).status_code == 200
    api.clock.advance(3599)
    assert api.http.get("/email/verify", params={"email": "b@x.com"}).status_code == 429
    assert api.credits() > 0
    api.clock.advance(1)
    assert api.http.get("/email/verify", params={"email": "b@x.com"}).status_code == 200
