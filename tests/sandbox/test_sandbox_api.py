"""The calls of the API as a client sees them."""

import csv
import http.server
import io
import queue
import threading

import httpx
import pytest

from tests.sandbox.client import Api

PEOPLE = [f"person{number}@company{number % 7}.com" for number in range(200)]


def test_a_batch_travels_from_queued_to_its_results(api: Api) -> None:
    """A client that uploads, polls and downloads gets one result for each address."""
    created = api.create(*PEOPLE).json()
    assert created["status"] == "queued"
    assert (created["quantity"], created["duplicates"]) == (200, 0)
    batch_id = created["batchId"]
    assert api.status(batch_id).json()["status"] == "queued"
    seen = []
    for _ in range(4):
        api.clock.advance(25)
        status = api.status(batch_id).json()
        assert status["processed"] == sum(status["stats"].values())
        seen.append((status["status"], status["processed"]))
    assert [status for status, _ in seen] == ["processing", "processing", "processing", "completed"]
    processed = [count for _, count in seen]
    assert processed == sorted(processed)
    assert 40 <= processed[0] <= 55
    assert processed[-1] == 200
    assert status["credits"] == 200 - status["stats"]["unknown"]
    results = api.download(batch_id).json()
    assert sorted(result["email"] for result in results) == sorted(PEOPLE)
    assert {result["status"] for result in results} <= {"deliverable", "risky", "undeliverable", "unknown"}


def test_nothing_answers_without_the_version_in_the_path(api: Api) -> None:
    """A base URL without /v1.1 is found out at once: no call answers there."""
    batch_id = api.created("a@example.com")
    for path in ["/credits", f"/email/verify/batch/{batch_id}", "/email/verify?email=a@example.com"]:
        assert api.http.get(f"{api.root}{path}").status_code == 404
    assert api.ledger()["requests_by_operation"] == {"create": 1}


def test_results_are_untidy(api: Api) -> None:
    """Results come shuffled, lower-cased, with fields missing, null and unknown, so that no client relies on them."""
    sent = [f"Person{number}@Company{number % 40}.com" for number in range(2000)]
    results = api.download(api.completed(*sent)).json()
    # The domain of an address decides nothing about its syntax; what is raw has a test of its own.
    emails = [result["email"].lower() for result in results]
    assert emails != [address.lower() for address in sent]
    assert sorted(emails) == sorted(address.lower() for address in sent)
    assert any("domain" not in result for result in results)
    assert any(result.get("domain", "") is None for result in results)
    assert any("acceptAll" not in (result.get("domain") or {"acceptAll": ""}) for result in results)
    assert any(result.get("score", 0) is None for result in results)
    assert any("insights" in result for result in results)
    assert all({"email", "status", "reason"} <= result.keys() for result in results)


def test_duplicates_come_back_once(api: Api) -> None:
    """An address that was sent again, in whatever case, is counted as a duplicate and answered once."""
    created = api.create("a@example.com", "A@Example.com", "b@example.com", "a@example.com").json()
    assert (created["quantity"], created["duplicates"]) == (4, 2)
    api.clock.advance(100)
    results = api.download(created["batchId"]).json()
    assert sorted(result["email"] for result in results) == ["a@example.com", "b@example.com"]


def test_a_download_can_be_csv(api: Api) -> None:
    """Accept: text/csv gives one row for each result under a header."""
    answer = api.download(api.completed(*PEOPLE), accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert sorted(row["email"] for row in rows) == sorted(PEOPLE)
    assert {"status", "reason", "acceptAll", "score"} <= rows[0].keys()


def test_results_cannot_be_had_early(api: Api) -> None:
    """A download before completion answers 405 and leaves the batch as it is."""
    batch_id = api.created(*PEOPLE)
    answer = api.download(batch_id)
    assert (answer.status_code, answer.json()["message"]) == (405, "batch is not completed")


def test_an_unknown_key_is_refused(api: Api, other_api: Api) -> None:
    """A key that is not known, or was revoked, answers 401."""
    other_api.control("DELETE", "/keys/other-key")
    answer = other_api.http.get("/credits")
    assert (answer.status_code, answer.json()["message"]) == (401, "user not found")


def test_a_rotated_key_finds_its_batches(api: Api) -> None:
    """A new key of the same account takes over where the old one was revoked."""
    batch_id = api.completed(*PEOPLE)
    api.control("POST", "/keys", {"key": "new-key", "same_account_as": "sandbox-key"})
    api.control("DELETE", "/keys/sandbox-key")
    assert api.download(batch_id).status_code == 401
    api.http.headers["x-api-key"] = "new-key"
    assert len(api.download(batch_id).json()) == 200


@pytest.mark.parametrize("call", ["status", "download", "finish", "delete"])
def test_a_batch_of_another_account_is_not_found(api: Api, other_api: Api, call: str) -> None:
    """No account reaches the batches of another."""
    batch_id = api.completed(*PEOPLE)
    assert getattr(other_api, call)(batch_id).status_code == 404


@pytest.mark.parametrize(
    "body", ["", "nonsense", "{}", "[]", '["a@example.com"]', '[{"email": 3}]', '[{"mail": "a@example.com"}]']
)
def test_a_malformed_upload_is_refused(api: Api, body: str) -> None:
    """A body that is no list of addresses answers 400 and creates nothing."""
    answer = api.http.post("/email/verify/batch", content=body)
    assert (answer.status_code, answer.json()["message"]) == (400, "malformed body")
    assert api.ledger()["batches"] == 0


def test_too_many_addresses_are_refused(api: Api) -> None:
    """An upload above the limit answers 400 as Bouncer does."""
    api.settings(max_batch_size=3)
    answer = api.create("a@x.com", "b@x.com", "c@x.com", "d@x.com")
    assert (answer.status_code, answer.json()["message"]) == (400, "too many emails")


def test_a_broken_address_is_echoed_raw_with_what_was_meant(api: Api) -> None:
    """An address of bad syntax comes back with its spaces and its case, and with little else."""
    sent = " John 1234@Nodots"
    assert api.download(api.completed(sent)).json() == [
        {"email": sent, "status": "undeliverable", "reason": "invalid_email"}
    ]


def test_an_error_s_status_is_a_number_or_a_string_as_documented(api: Api, other_api: Api) -> None:
    """A client cannot rely on the type of the status in an error, nor on its agreeing with HTTP's."""
    assert api.status("1l2k3k4j5h").json() == {
        "status": "404",
        "error": "Not Found",
        "message": "request 1l2k3k4j5h does not exist",
    }
    batch_id = api.created(*PEOPLE)
    assert api.download(batch_id).json()["status"] == "405"
    assert other_api.create(*PEOPLE).json() == {
        "status": "402",
        "error": "Payment Required",
        "message": "100 credits left",
    }
    assert api.http.get("/credits", headers={"x-api-key": "wrong"}).json() == {
        "status": 401,
        "error": "Unauthorized",
        "message": "user not found",
    }
    api.settings(max_batch_size=1, requests_per_minute=4)
    too_many = api.create("a@x.com", "b@x.com")
    assert (too_many.status_code, too_many.json()["status"]) == (400, "404")
    assert api.status(batch_id).json() == {
        "status": 429,
        "error": "Too Many Requests",
        "message": "too many requests",
    }


def test_a_call_without_a_key_is_told_so(api: Api) -> None:
    """A missing key is another error than a wrong one."""
    answer = api.http.get("/credits", headers={"x-api-key": ""})
    assert (answer.status_code, answer.json()["message"]) == (401, "api key is required")


def test_a_batch_that_was_quicker_than_whoever_completes_it_stays_completed(api: Api) -> None:
    """On a busy machine the answer was 404, as for a batch that there never was, and a test failed now and then."""
    batch_id = api.completed("a@example.com")
    before = api.status(batch_id).json()
    api.control("POST", f"/batches/{batch_id}/complete")
    assert api.status(batch_id).json() == before
    assert api.http.post(f"{api.root}/_sandbox/batches/none/complete").status_code == 404


def test_a_deleted_batch_is_gone(api: Api) -> None:
    """After DELETE the status is not found and the results have been removed."""
    batch_id = api.completed(*PEOPLE)
    answer = api.delete(batch_id)
    assert (answer.status_code, answer.json()) == (200, {})
    assert api.status(batch_id).status_code == 404
    assert api.delete(batch_id).status_code == 404
    answer = api.download(batch_id)
    assert answer.status_code == 405
    assert answer.json()["message"] == "email addresses and results have been removed"


def test_a_batch_in_flight_cannot_be_deleted(api: Api) -> None:
    """DELETE of a queued or processing batch answers 405 and leaves it as it is."""
    running, queued = api.created(*PEOPLE), api.created("a@example.com")
    api.clock.advance(50)
    for batch_id, state in [(running, "processing"), (queued, "queued")]:
        answer = api.delete(batch_id)
        assert (answer.status_code, answer.json()["message"]) == (405, "batch cannot be deleted in current state")
        assert api.status(batch_id).json()["status"] == state


def test_one_address_can_be_verified_at_once(api: Api) -> None:
    """The real-time call answers with the same verdict as a batch and costs a credit."""
    in_batch = api.download(api.completed("Someone@gmail.com")).json()[0]
    before = api.credits()
    answer = api.http.get("/email/verify", params={"email": "Someone@gmail.com"}).json()
    assert answer == in_batch
    assert api.credits() == before - (answer["status"] != "unknown")
    assert api.http.get("/email/verify").status_code == 400


def test_a_callback_is_called_on_completion(api: Api) -> None:
    """The URL that was given with the upload is told which batch has completed."""
    received: queue.Queue[bytes] = queue.Queue()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            """Says nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        serving = threading.Thread(target=receiver.handle_request)
        serving.start()
        batch_id = api.create(*PEOPLE, callback=f"http://127.0.0.1:{receiver.server_port}").json()["batchId"]
        api.clock.advance(100)
        payload = httpx.Response(200, content=received.get(timeout=30)).json()
        serving.join()
    assert (payload["batchId"], payload["status"]) == (batch_id, "completed")


def test_a_callback_that_fails_harms_nothing(api: Api) -> None:
    """A callback that nobody answers leaves the batch and the service as they are."""
    batch_id = api.create(*PEOPLE, callback="http://127.0.0.1:1/").json()["batchId"]
    api.clock.advance(100)
    assert len(api.download(batch_id).json()) == 200


def test_results_can_be_missing_strange_or_odd(api: Api) -> None:
    """Settings make the service leave results out, add unknown addresses and use undocumented statuses."""
    api.settings(missing_results=0.3, unmatched_results=0.1, odd_statuses=0.2)
    results = api.download(api.completed(*PEOPLE)).json()
    matched = [result for result in results if result["email"] in set(PEOPLE)]
    assert len(results) - len(matched) == 20
    assert 100 < len(matched) < 180
    assert 0 < sum(result["status"] == "deferred" for result in matched) < len(matched)
