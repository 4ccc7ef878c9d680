"""The probe finds no difference on the sandbox, and each that is planted; it costs nothing and betrays nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bouncer.errors import KeyRefused, OutOfCredits, UnexpectedAnswer
from bouncer.probe import run
from bouncer.probe.behaviours.table import BEHAVIOURS
from bouncer.probe.findings import Outcome
from tests.bouncer.probe.asking import Alter, Answer, asked, probed_sandbox
from tests.sandbox_process import SandboxHandle


@pytest.fixture(scope="module")
def documented() -> Iterator[SandboxHandle]:
    with probed_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def bouncer(documented: SandboxHandle) -> SandboxHandle:
    """A sandbox as documented that has seen nothing yet."""
    documented.post("/_sandbox/reset")
    return documented


async def test_the_sandbox_is_as_the_table_has_it(bouncer: SandboxHandle, tmp_path: Path) -> None:
    """Every row that can be asked about is tried and found as expected, at no cost, and nothing is left behind."""
    report, transcript = await asked(bouncer)
    assert [f"{finding.behaviour.name}: {finding.seen}" for finding in report.differences] == []
    outcomes = {finding.behaviour.name: finding.outcome for finding in report.findings}
    assert outcomes == {row.name: Outcome.EXPECTED for row in BEHAVIOURS if row.if_not}
    assert report.is_whole
    ledger = bouncer.ledger()
    assert (ledger["credits_charged"], ledger["in_flight_now"], ledger["deleted"]) == (0, 0, 2)
    assert {batch["status"] for batch in bouncer.batches()} == {"deleted"}
    assert ledger["most_in_flight"] == 2
    file = tmp_path / "transcript.jsonl"
    transcript.write(file)
    text = file.read_text()
    assert len(text.splitlines()) > 25
    assert bouncer.key not in text
    assert "@" not in text
    assert "[address 1]" in text


async def test_a_refusal_with_400_is_as_expected_too(bouncer: SandboxHandle) -> None:
    """The documentation has a refused finish as 200, the SDK as 400; either is what we reckon with."""
    bouncer.post("/_sandbox/settings", {"finish_refusal": 400})
    report, _ = await asked(bouncer, callbacks=False)
    assert report.differences == []
    assert {f.behaviour.name for f in report.findings if f.outcome is Outcome.UNTRIED} == {"callback"}


def _on(call: str, **fields: Any) -> Alter:
    def alter(answer: Answer) -> None:
        if answer.call == call and isinstance(answer.body, dict) and not answer.body.get("error"):
            answer.body.update(fields)

    return alter


def _granted(call: str, status: int = 200, body: Any = None) -> Alter:
    def alter(answer: Answer) -> None:
        if answer.call == call and isinstance(answer.body, dict) and answer.body.get("error"):
            answer.status, answer.body = status, {} if body is None else body

    return alter


def _each_result(**fields: Any) -> Alter:
    def alter(answer: Answer) -> None:
        if answer.call.endswith("/download") and isinstance(answer.body, list):
            answer.body = [{**result, **fields} for result in answer.body]

    return alter


def _other_status(before: int, after: int) -> Alter:
    def alter(answer: Answer) -> None:
        if answer.status == before:
            answer.status = after

    return alter


def _without_started(answer: Answer) -> None:
    if answer.call == "GET /email/verify/batch/ID":
        answer.body.pop("started", None)


def _half_the_results(answer: Answer) -> None:
    if answer.call.endswith("/download") and isinstance(answer.body, list):
        del answer.body[::2]


def _errors_as_text(answer: Answer) -> None:
    if answer.status == 405:
        answer.body = "no"


_STATUS = "GET /email/verify/batch/ID"
_FINISH = "POST /email/verify/batch/ID/finish"
_PLANTED: dict[str, tuple[set[str], Alter]] = {
    "a queued batch can be finished": (
        {"finish-of-queued", "finish-of-completed", "finish-of-unknown-batch"},
        _granted(_FINISH, 202),
    ),
    "an early download is empty": (
        {"early-download", "unknown-batch", "results-removed"},
        _granted(f"{_STATUS}/download", 200, []),
    ),
    "a batch in flight can be deleted": (
        {"delete-in-flight", "delete-again", "unknown-batch"},
        _granted("DELETE /email/verify/batch/ID"),
    ),
    "a wrong key is 403": ({"wrong-key", "missing-key"}, _other_status(401, 403)),
    "an unknown batch is 410": ({"unknown-batch", "finish-of-unknown-batch", "delete-again"}, _other_status(404, 410)),
    # An id that the sandbox does not know: what is asked of it is not found.
    "ids are UUIDs": (
        {"batch-id", "finish-of-queued", "early-download", "delete-in-flight"},
        _on("POST /email/verify/batch", batchId="1b4e28ba-2fa1-11d2-883f-0016d3cca427"),
    ),
    "times are numbers": ({"times"}, _on(_STATUS, completed=1_700_000_000)),
    "no time of the start": ({"times"}, _without_started),
    "another status": ({"batch-statuses"}, _on(_STATUS, status="running")),
    "free addresses cost": ({"free-addresses"}, _on(_STATUS, credits=140)),
    "a result without a reason": ({"required-fields", "each-address-once"}, _each_result(reason=None)),
    "an unknown reason": ({"reasons"}, _each_result(reason="mailbox_moved")),
    "other flags": ({"result-fields"}, _each_result(domain={"name": "x", "acceptAll": True})),
    "a score beyond 100": ({"result-fields"}, _each_result(score=1_000)),
    "half the results": ({"each-address-once"}, _half_the_results),
    "other verdicts": ({"free-verdicts", "reasons"}, _each_result(status="deliverable")),
    "duplicates are not counted": ({"duplicates"}, _on("POST /email/verify/batch", duplicates=0)),
    "no verdict in real time": ({"real-time"}, _on("GET /email/verify", reason=None)),
    "no statistics": ({"stats"}, _on(_STATUS, stats=None, processed=None)),
    "errors without a form": ({"error-body"}, _errors_as_text),
}


@pytest.mark.parametrize(("differing", "alter"), _PLANTED.values(), ids=_PLANTED)
async def test_a_planted_difference_is_found(bouncer: SandboxHandle, differing: set[str], alter: Alter) -> None:
    """What an account does differently is found, and nothing else is blamed for it."""
    try:
        report, _ = await asked(bouncer, alter)
    except UnexpectedAnswer:
        pytest.fail("the probe did not come to its end")
    assert {finding.behaviour.name for finding in report.differences} == differing


@pytest.mark.parametrize(
    ("settings", "differing"),
    [
        ({"parallel": 2}, {"one-after-another"}),
        ({"credit_calls_per_minute": 1_000}, {"credits-limit"}),
        ({"callback_loss": 1.0}, {"callback"}),
        ({"missing_results": 0.5}, {"each-address-once"}),
    ],
)
async def test_an_account_that_is_served_otherwise_is_found(
    bouncer: SandboxHandle, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], differing: set[str]
) -> None:
    """What cannot be planted on the way is set at the sandbox: side by side, without a limit, without callbacks."""
    monkeypatch.setattr(run, "_CALLBACK_SECONDS", 1.0)
    bouncer.post("/_sandbox/settings", settings)
    report, _ = await asked(bouncer)
    assert {finding.behaviour.name for finding in report.differences} == differing


async def test_a_list_of_somebody_else_ahead(bouncer: SandboxHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the batches do not get their turn in time, nothing is called different, and the report says so."""
    bouncer.post("/_sandbox/ahead", {"key": bouncer.key, "seconds": 3600})
    monkeypatch.setattr("tests.bouncer.probe.asking.probe", lambda *a, **k: run.probe(*a, **{**k, "limit": 1.0}))
    report, _ = await asked(bouncer)
    assert (report.is_whole, report.differences) == (False, [])


async def test_what_keeps_the_probe_from_its_work(bouncer: SandboxHandle) -> None:
    """A wrong key and too few credits are told in one line, before anything is uploaded."""
    bouncer.post("/_sandbox/credits", {"key": bouncer.key, "credits": 5})
    with pytest.raises(OutOfCredits, match="the probe needs 280 credits for two minutes; they come back"):
        await asked(bouncer)
    bouncer.revoke(bouncer.key)
    with pytest.raises(KeyRefused, match="set BOUNCER_API_KEY"):
        await asked(bouncer)
    assert bouncer.ledger()["batches"] == 0
