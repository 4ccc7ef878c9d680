"""Every kind of fault, as a client sees it."""

import json
import socket
from typing import Any

import httpx
import pytest

from tests.sandbox.client import Api

PEOPLE = [f"person{number}@company{number % 7}.com" for number in range(100)]


def test_an_error_status_comes_without_effect(api: Api) -> None:
    """A 503 with Retry-After is answered as often as asked, and the call behind it does not happen."""
    api.fault("status", operation="create", code=503, retry_after=7, times=2)
    for _ in range(2):
        answer = api.create("a@example.com")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert api.ledger()["batches"] == 0
    assert api.create("a@example.com").status_code == 200


def test_an_error_status_can_come_after_the_effect(api: Api) -> None:
    """A 502 can hide a batch that was created all the same."""
    api.fault("status", operation="create", code=502, processed=True)
    assert api.create("a@example.com").status_code == 502
    assert api.ledger()["batches"] == 1


def test_a_gateway_answers_a_page(api: Api) -> None:
    """An error can be HTML instead of JSON."""
    api.fault("status", code=504, html=True)
    answer = api.create("a@example.com")
    assert answer.status_code == 504
    assert answer.headers["content-type"].startswith("text/html")
    assert "504 Gateway Timeout" in answer.text


@pytest.mark.parametrize("size", [1, 20_000])
def test_a_refused_request_does_not_happen(api: Api, size: int) -> None:
    """The connection closes before the request is processed, or even read."""
    api.fault("refuse")
    with pytest.raises(httpx.TransportError):
        api.create(*[f"person{number}@example.com" for number in range(size)])
    assert api.ledger()["batches"] == 0
    assert api.create(*PEOPLE).status_code == 200


def test_a_lost_answer_hides_a_batch_that_is_paid(api: Api) -> None:
    """The connection closes after the batch was created; nothing of the answer arrives."""
    api.fault("lost_answer", operation="create")
    with pytest.raises(httpx.RemoteProtocolError):
        api.create(*PEOPLE)
    ledger = api.ledger()
    assert ledger["batches"] == 1
    assert ledger["answers_by_status"] == {"none": 1}
    api.clock.advance(100)
    assert api.ledger()["credits_charged"] > 0


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_a_cut_body_ends_before_its_length(api: Api, fraction: float) -> None:
    """Content-Length promises more than arrives, and the connection closes."""
    batch_id = api.completed(*[f"person{number}@example.com" for number in range(3000)])
    api.fault("cut_body", operation="download", fraction=fraction)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        api.download(batch_id)
    assert len(api.download(batch_id).json()) == 3000


def test_a_client_that_dies_while_it_uploads_creates_nothing(api: Api) -> None:
    """An upload that breaks off half-way is counted as a call without an answer."""
    root = httpx.URL(api.root)
    with socket.create_connection((root.host, root.port or 80)) as connection:
        head = "POST /v1.1/email/verify/batch HTTP/1.1\r\nHost: x\r\nx-api-key: sandbox-key\r\n"
        connection.sendall(f'{head}Content-Length: 1000\r\n\r\n[{{"email":'.encode())
        while api.ledger()["requests"] == 0:
            pass
    while not api.ledger()["answers_by_status"]:
        pass
    ledger = api.ledger()
    assert (ledger["answers_by_status"], ledger["batches"]) == ({"none": 1}, 0)


def test_a_cut_answer_without_a_body_is_cut_too(api: Api) -> None:
    """Even an empty answer can break off."""
    batch_id = api.created(*PEOPLE)
    api.clock.advance(50)
    api.fault("cut_body", operation="finish")
    with pytest.raises(httpx.RemoteProtocolError):
        api.finish(batch_id)


@pytest.mark.parametrize("call", ["status", "download", "finish"])
def test_a_malformed_body_looks_complete(api: Api, call: str) -> None:
    """A 200 can carry JSON that breaks off, which HTTP does not notice."""
    batch_id = api.completed(*PEOPLE)
    api.fault("malformed", operation=call)
    answer = getattr(api, call)(batch_id)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_slow_call_happens_though_the_client_gave_up(api: Api) -> None:
    """A client that stops waiting has created the batch nevertheless."""
    api.fault("slow", operation="create", seconds=0.6)
    with pytest.raises(httpx.ReadTimeout):
        api.http.post("/email/verify/batch", json=[{"email": "a@example.com"}], timeout=httpx.Timeout(20, read=0.1))
    while api.ledger()["batches"] == 0:
        pass


def test_a_slow_body_trickles(api: Api) -> None:
    """A body that comes in pieces is the whole body in the end."""
    batch_id = api.completed(*PEOPLE)
    api.fault("slow_body", operation="download", seconds=0.2)
    with api.http.stream("GET", f"/email/verify/batch/{batch_id}/download") as answer:
        pieces = list(answer.iter_raw())
    assert len(pieces) > 1
    assert len(json.loads(b"".join(pieces))) == 100


def test_a_stuck_batch_stays_put_until_it_is_finished(api: Api) -> None:
    """A batch without progress never completes by itself; finished, it gives what it has."""
    api.fault("stuck", fraction=0.4)
    batch_id = api.created(*PEOPLE)
    api.clock.advance(1_000_000)
    status = api.status(batch_id).json()
    assert (status["status"], status["processed"]) == ("processing", 40)
    assert api.ledger()["in_flight_now"] == 1
    api.finish(batch_id)
    api.clock.advance(5)
    assert len(api.download(batch_id).json()) == 40
    assert api.ledger()["in_flight_now"] == 0


def test_a_forgotten_batch_is_never_found_and_costs_nothing(api: Api) -> None:
    """A batch that the service loses answers 404 from the start, and its credits are given back."""
    api.fault("forget")
    batch_id = api.created(*PEOPLE)
    assert api.status(batch_id).status_code == 404
    api.clock.advance(100)
    assert api.download(batch_id).status_code == 404
    assert api.credits() == 1_000_000
    assert api.control("GET", "/batches")[0]["status"] == "forgotten"


def test_a_late_batch_is_found_in_the_end(api: Api) -> None:
    """A batch can answer 404 for a moment after its creation."""
    api.fault("late", seconds=3)
    batch_id = api.created(*PEOPLE)
    assert api.status(batch_id).status_code == 404
    api.clock.advance(3)
    assert api.status(batch_id).status_code == 200


@pytest.mark.parametrize(
    ("code", "message"), [(405, "batch is not completed"), (400, "processing is not completed yet")]
)
def test_a_completed_batch_can_refuse_its_results(api: Api, code: int, message: str) -> None:
    """A download can be told that the batch is not completed although it reads completed."""
    batch_id = api.completed(*PEOPLE)
    api.fault("not_completed", code=code)
    assert api.status(batch_id).json()["status"] == "completed"
    answer = api.download(batch_id)
    assert (answer.status_code, answer.json()["message"]) == (code, message)
    assert api.download(batch_id).status_code == 200


@pytest.mark.parametrize("code", [200, 400])
def test_a_running_batch_can_refuse_to_be_finished(api: Api, code: int) -> None:
    """A finish can be refused although the batch reads processing, and pass the next time."""
    batch_id = api.created(*PEOPLE)
    api.clock.advance(50)
    api.fault("finish_refused", code=code)
    answer = api.finish(batch_id)
    assert (answer.status_code, answer.json()["message"]) == (code, "batch has to be running to finish")
    assert api.finish(batch_id).status_code == 202


def test_results_can_be_removed_before_they_are_fetched(api: Api) -> None:
    """A batch can read completed, have cost its credits, and have no results any more."""
    api.fault("removed")
    batch_id = api.created(*PEOPLE)
    assert api.download(batch_id).json()["message"] == "batch is not completed"
    api.clock.advance(100)
    assert api.status(batch_id).json()["credits"] > 0
    answer = api.download(batch_id)
    assert (answer.status_code, answer.json()["message"]) == (405, "email addresses and results have been removed")


def test_a_fault_lets_calls_pass_first(api: Api) -> None:
    """A fault with `after` and `times` hits exactly the calls that were meant, and tells how often it did."""
    batch_id = api.created(*PEOPLE)
    api.fault("status", operation="status", after=2, times=3)
    codes = [api.status(batch_id).status_code for _ in range(7)]
    assert codes == [200, 200, 503, 503, 503, 200, 200]
    fault = api.control("GET", "/faults")[0]
    assert (fault["matched"], fault["fired"]) == (5, 3)


def test_a_fault_can_be_a_matter_of_luck(api: Api) -> None:
    """A fault with a probability hits the same calls whenever the seed is the same, until it is cleared."""

    def codes() -> list[int]:
        api.control("POST", "/reset")
        api.fault("status", operation="status", probability=0.3, times=None)
        return [api.status("unknown").status_code for _ in range(60)]

    first = codes()
    assert first == codes()
    assert 5 < first.count(503) < 35
    api.control("DELETE", "/faults")
    assert {api.status("unknown").status_code for _ in range(20)} == {404}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "no such kind"},
        {"kind": "status", "delay": 3},
        {"kind": "stuck", "operation": "status"},
        {"kind": "not_completed", "operation": "create"},
        {"kind": "finish_refused", "operation": "status"},
        {"kind": "status", "probability": 2},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(api: Api, fault: dict[str, Any]) -> None:
    """A misspelt fault fails loudly instead of never firing."""
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        api.control("POST", "/faults", fault)


def test_faulted_calls_are_counted(api: Api) -> None:
    """What the client sent stands in the ledger, whether or not it was answered."""
    api.fault("refuse", operation="status")
    api.fault("status", operation="status")
    with pytest.raises(httpx.TransportError):
        api.status("unknown")
    api.status("unknown")
    ledger = api.ledger()
    assert ledger["requests"] == 2
    assert ledger["answers_by_status"] == {"none": 1, "503": 1}
