"""Credits: held at creation, charged at completion, given back for what was not verified."""

import itertools
from typing import Any

import orjson
import pytest

from sandbox.service.service import Service
from sandbox.settings import SandboxSettings
from tests.sandbox.client import KEY, Api

PEOPLE = [f"person{number}@company{number % 7}.com" for number in range(100)]


def test_credits_are_held_and_then_charged(api: Api) -> None:
    """A batch takes its credits out of reach at once and costs what has a verdict in the end."""
    batch_id = api.created(*PEOPLE)
    assert api.credits() == 1_000_000 - 100
    api.clock.advance(100)
    unknown = api.status(batch_id).json()["stats"]["unknown"]
    assert unknown > 0
    assert api.credits() == 1_000_000 - 100 + unknown
    assert api.ledger()["credits_by_key"]["sandbox-key"] == {
        "left": 1_000_000 - 100 + unknown,
        "held": 0,
        "charged": 100 - unknown,
    }


def test_a_batch_without_the_credits_is_refused(other_api: Api) -> None:
    """402 tells how many credits are left, held ones not among them, and nothing is created."""
    other_api.created(*PEOPLE[:60])
    answer = other_api.create(*PEOPLE[60:], "one@more.com")
    assert (answer.status_code, answer.json()["message"]) == (402, "40 credits left")
    assert other_api.ledger()["batches"] == 1
    assert other_api.create(*PEOPLE[60:]).status_code == 200


def test_credits_can_be_bought(other_api: Api) -> None:
    """The control endpoint sets what an account has left."""
    other_api.control("POST", "/credits", {"key": "other-key", "credits": 0})
    assert other_api.create("a@example.com").status_code == 402
    other_api.control("POST", "/credits", {"key": "other-key", "credits": 1})
    assert other_api.create("a@example.com").status_code == 200


def test_duplicates_cost_nothing(other_api: Api) -> None:
    """An address that was sent three times holds one credit."""
    other_api.created("a@example.com", "A@example.com", "a@EXAMPLE.com")
    assert other_api.credits() == 99


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("deliverable", "deliverable"),
        ("free", "deliverable"),
        ("disposable", "risky"),
        ("accept-all", "risky"),
        ("undeliverable", "undeliverable"),
        ("unknown", "unknown"),
        ("other", "risky"),
    ],
)
def test_sandbox_addresses_are_free_and_answer_as_named(api: Api, name: str, status: str) -> None:
    """The addresses that Bouncer documents for tests cost nothing in the end and answer as they are named."""
    sent = [f"{name}@sandbox.usebouncer.com"] + [f"{name}+{n}@sandbox.usebouncer.com" for n in range(20)]
    batch_id = api.created(*sent)
    assert api.credits() == 1_000_000 - 21, "credits are held for free addresses too, until the batch is completed"
    api.clock.advance(100)
    results = api.download(batch_id).json()
    assert {result["status"] for result in results} == {status}
    domains = [result["domain"] for result in results if result.get("domain")]
    expected = {"free": "free", "disposable": "disposable", "accept-all": "acceptAll"}.get(name)
    assert all(domain[expected] == "yes" for domain in domains if expected in domain)
    assert api.status(batch_id).json()["credits"] == 0
    assert api.credits() == 1_000_000


def test_finish_gives_the_unverified_s_credits_back(api: Api) -> None:
    """A batch that is finished half-way costs what was verified, and hands those results out once completed."""
    batch_id = api.created(*PEOPLE)
    api.clock.advance(50)
    verified = api.status(batch_id).json()["processed"]
    assert 0 < verified < 100
    assert api.finish(batch_id).status_code == 202
    assert api.credits() == 1_000_000 - verified
    assert api.status(batch_id).json()["status"] == "processing"
    assert api.download(batch_id).status_code == 405
    api.clock.advance(5)
    status = api.status(batch_id).json()
    assert (status["status"], status["processed"]) == ("completed", verified)
    results = api.download(batch_id).json()
    assert sorted(result["email"] for result in results) == sorted(PEOPLE[:verified])
    assert api.credits() == 1_000_000 - status["credits"]
    assert status["credits"] == verified - status["stats"]["unknown"]


@pytest.mark.parametrize("status", [200, 400])
def test_only_a_running_batch_can_be_finished(api: Api, status: int) -> None:
    """A finish of a queued or completed batch is refused, in a body under HTTP 200 or with 400, and changes nothing."""
    api.settings(finish_refusal=status)
    completed = api.completed(*PEOPLE)
    running, queued = api.created("a@example.com"), api.created("b@example.com")
    api.clock.advance(10)
    before = api.credits()
    for batch_id in [completed, queued]:
        answer = api.finish(batch_id)
        assert answer.status_code == status
        assert answer.json() == {
            "status": "400",
            "error": "Bad Request",
            "message": "batch has to be running to finish",
        }
    assert len(api.download(completed).json()) == 100
    assert api.status(queued).json()["status"] == "queued"
    assert api.credits() == before
    assert api.ledger()["finished"] == 0
    assert api.finish(running).status_code == 202


def test_results_that_are_left_out_cost_nothing(api: Api) -> None:
    """An address without a result is not charged, so that sending it again pays for it once."""
    api.settings(missing_results=0.5)
    batch_id = api.completed(*PEOPLE)
    charged = sum(result["status"] != "unknown" for result in api.download(batch_id).json())
    assert api.credits() == 1_000_000 - charged


def test_a_batch_that_reads_completed_has_its_charge_however_time_passes_meanwhile() -> None:
    """A look that ends a moment after it began tells of one moment: completed never comes without its credits."""
    ticks = itertools.count()
    service = Service(SandboxSettings(keys={KEY: 10}, fixed_seconds=5.5), lambda: 1_800_000_000 + next(ticks) / 10)
    account = service.admit(KEY, "create")
    batch = service.create(account, KEY, orjson.dumps([{"email": "anna@example.com"}]))
    told: dict[str, Any] = {}
    while told.get("status") != "completed":
        told = service.status(account, batch.batch_id).summary(service.now)
    assert "credits" in told
