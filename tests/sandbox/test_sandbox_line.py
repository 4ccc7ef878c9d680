"""An account's batches run one after another, in the order of their creation, behind whatever is ahead of them."""

from typing import Any

import pytest

from tests.sandbox.client import Api

PEOPLE = [f"person{number}@company{number % 7}.com" for number in range(100)]


def _states(api: Api, *ids: str) -> list[str]:
    return [api.status(batch_id).json()["status"] for batch_id in ids]


def _seconds(api: Api, batch_id: str) -> tuple[float, float]:
    described: dict[str, Any] = next(one for one in api.control("GET", "/batches") if one["id"] == batch_id)
    return described["started_at"] - described["created"], described["completed_at"] - described["started_at"]


def test_batches_of_a_key_run_one_after_another(api: Api) -> None:
    """A small batch behind a large one waits for it, and says so; it starts at the moment that the other is through."""
    first, second, third = (api.created(*PEOPLE), api.created("a@example.com"), api.created("b@example.com"))
    api.clock.advance(60)
    assert _states(api, first, second, third) == ["processing", "queued", "queued"]
    queued = api.status(second).json()
    assert "started" not in queued
    assert (queued["processed"], queued["stats"]["deliverable"]) == (0, 0)
    api.clock.advance(50)
    assert _states(api, first, second, third) == ["completed", "processing", "queued"]
    api.clock.advance(300)
    assert _states(api, first, second, third) == ["completed"] * 3
    assert [_seconds(api, batch_id) for batch_id in (first, second, third)] == [
        (pytest.approx(1), pytest.approx(99)),
        (pytest.approx(100), pytest.approx(99)),
        (pytest.approx(199), pytest.approx(99)),
    ]


def test_an_account_can_be_served_side_by_side(api: Api) -> None:
    """With `parallel`, so many batches run at a time, and the next one when one of them is through."""
    api.settings(parallel=2)
    ids = [api.created(f"person{number}@example.com") for number in range(3)]
    api.clock.advance(50)
    assert _states(api, *ids) == ["processing", "processing", "queued"]
    api.clock.advance(50)
    assert _states(api, *ids) == ["completed", "completed", "processing"]


def test_other_accounts_do_not_wait(api: Api, other_api: Api) -> None:
    """The line is an account's."""
    api.created(*PEOPLE)
    mine = other_api.created("a@example.com")
    api.clock.advance(50)
    assert _states(other_api, mine) == ["processing"]


def test_somebody_else_s_list_can_be_ahead(api: Api) -> None:
    """A list that a colleague sends in the web app holds everything up that comes after it, and nothing before it."""
    before = api.created(*PEOPLE)
    api.control("POST", "/ahead", {"key": "sandbox-key", "seconds": 3600})
    after = api.created("a@example.com")
    api.clock.advance(100)
    assert _states(api, before, after) == ["completed", "queued"]
    api.clock.advance(3500)
    assert _states(api, after) == ["queued"]
    assert api.ledger()["in_flight_now"] == 1
    api.clock.advance(101)
    assert _states(api, after) == ["processing"]


def test_what_is_ahead_can_be_taken_away(api: Api) -> None:
    """Once the lists of somebody else are gone, the next batch starts."""
    for _ in range(2):
        api.control("POST", "/ahead", {"key": "sandbox-key", "seconds": 3600})
    mine = api.created("a@example.com")
    api.clock.advance(50)
    assert _states(api, mine) == ["queued"]
    api.control("DELETE", "/ahead/sandbox-key")
    assert _states(api, mine) == ["processing"]


def test_a_finished_batch_lets_the_next_one_start(api: Api) -> None:
    """Finishing the batch that runs is a way to the front for those behind it."""
    first, second = api.created(*PEOPLE), api.created("a@example.com")
    api.clock.advance(50)
    api.finish(first)
    api.clock.advance(5)
    assert _states(api, first, second) == ["completed", "processing"]


def test_times_stand_in_a_batch_s_status_as_they_come(api: Api) -> None:
    """`created` is told at once, `started` once it runs, `completed` and `credits` at its end."""
    batch_id = api.created(*PEOPLE)
    assert len(batch_id) == 24
    int(batch_id, 16)
    assert api.status(batch_id).json().keys() & {"started", "completed", "credits"} == set()
    api.clock.advance(50)
    running = api.status(batch_id).json()
    assert running.keys() & {"started", "completed", "credits"} == {"started"}
    api.clock.advance(50)
    completed = api.status(batch_id).json()
    assert completed["created"] < completed["started"] < completed["completed"]
    assert all(completed[moment].endswith("Z") and len(completed[moment]) == 24 for moment in ("created", "started"))
    assert "credits" in completed
