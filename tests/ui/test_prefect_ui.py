"""What a person does and sees in the Prefect UI, in a real browser."""

import csv
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bouncer.requests.names import find_request
from bouncer.storage.engine import read
from tests.contacts import addresses, queue, statuses
from tests.sandbox_process import SandboxHandle
from tests.ui.browser import PrefectUI

# One process for both: each would start a server, a worker and a browser.
pytestmark = [pytest.mark.timeout(300), pytest.mark.scenario, pytest.mark.long, pytest.mark.xdist_group("ui")]


def test_a_request_is_verified_from_the_form_and_followed_to_its_summary(ui: PrefectUI, contacts: Engine) -> None:
    """The form explains itself; batches are seen by name and with their progress; the summary tells the verdicts."""
    queue(contacts, addresses(600), request=1)
    ui.open_deployment("ingest")
    ui.open_form()
    ui.says("The name or number of one request, whose contacts alone are verified; all requests if left at None.")
    ui.says("The names of the Bouncer Account blocks that pay")
    ui.fill(request_id=1)
    ui.keep("ingest-form")
    ui.submit()
    ui.open("/runs")
    ui.follow(re.compile("batch 2: 100 contacts of request 1"))
    ui.open_artifact("batch-2")
    ui.says("Batch 2: 100 addresses at Bouncer")
    ui.open("/runs")
    ui.follow("request 1")
    ui.has_ended("Completed")
    ui.tab("Subflow Runs")
    for batch in range(1, 7):
        ui.says(f"batch {batch}: 100 contacts of request 1")
    ui.keep("ingest-run")
    ui.open_artifact("ingest-summary")
    ui.says("drained: 600 contacts verified, 0 failed, 0 still wait")
    ui.says("deliverable")
    ui.keep("ingest-summary")


def test_a_failed_batch_is_retried_by_its_button(ui: PrefectUI, contacts: Engine, bouncer: SandboxHandle) -> None:
    """A run that failed says why; the button on its page makes it go on where it was, and nothing is paid twice."""
    queue(contacts, addresses(50, prefix="retried"), request=2)
    bouncer.fault("status", operation="download", code=401)
    ui.open_deployment("dispatch")
    ui.open_form()
    ui.fill(request_id=2)
    ui.submit()
    ui.open("/runs")
    ui.follow(re.compile("50 contacts of request 2"))
    ui.has_ended("Failed")
    ui.says(re.compile("Bouncer answered 401 to download"))
    assert statuses(contacts, request=2) == {"assigned": 50}
    ui.retry()
    ui.has_ended("Completed")
    ui.tab("Artifacts")
    ui.says("Request 2 (request 2) is complete: 50 contacts have a verdict, 0 failed")
    ui.keep("batch-retried")
    assert statuses(contacts, request=2) == {"completed": 50}
    assert bouncer.ledger()["addresses_twice"] == 0


def test_a_list_is_verified_from_its_form_and_leads_to_its_result(
    ui: PrefectUI, contacts: Engine, tmp_path: Path
) -> None:
    """The form has its fields in words; the run links to the page of all lists, and that to where the result is."""
    file, result = tmp_path / "leads of may.csv", tmp_path / "leads of may.verified.csv"
    file.write_text("No,E-Mail\n" + "".join(f"{number},{a}\n" for number, a in enumerate(addresses(40, prefix="may"))))
    ui.open_deployment("verify-list")
    ui.open_form()
    ui.says("Spend at most (credits)")
    ui.write("List", str(file))
    ui.keep("verify-list-form")
    ui.submit()
    ui.open("/runs")
    ui.follow("list leads of may.csv")
    ui.has_ended("Completed")
    request = read(contacts, find_request, file.name)
    ui.open_artifact(f"list-{request}")
    ui.follow_in_text("All lists")
    ui.open_latest()
    ui.keep("lists")
    ui.follow_in_text(result.name)
    ui.open_latest()
    ui.says(f"The result is in {result}.")
    with result.open(newline="") as lines:
        assert [line["outcome"] for line in csv.DictReader(lines)] == ["completed"] * 40
