"""What an ingest run did, as a table on the terminal."""

import pytest

from deployments.terminal.reporting import print_summary
from tasks.queue.summary import IngestSummary


def _rows(capsys: pytest.CaptureFixture[str], *, verified: int, verdicts: dict[str, int]) -> list[tuple[str, str]]:
    print_summary(
        IngestSummary(
            outcome="drained",
            contacts=verified,
            verified=verified,
            failed=0,
            left=0,
            reused=0,
            batches=1,
            seconds=60,
            verdicts=verdicts,
            credits_used=verified,
            possible_double_payments=0,
            message="drained",
        )
    )
    lines = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [(what.strip(), figure.strip()) for what, figure in lines]


def test_verdicts_stand_below_the_contacts_that_they_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    """The first run's are those that it verified."""
    rows = _rows(capsys, verified=30, verdicts={"deliverable": 20, "risky": 10})
    assert rows[:3] == [("contacts verified", "30"), ("· deliverable", "20"), ("· risky", "10")]
    assert rows[-1] == ("contacts a minute", "30")


def test_verdicts_of_earlier_runs_are_not_shown_as_this_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A second run over 5 contacts seemed to have found 25 deliverable ones."""
    rows = _rows(capsys, verified=5, verdicts={"deliverable": 25, "risky": 10})
    assert rows[:2] == [("contacts verified", "5"), ("contacts failed", "0")]
    assert rows[-3:] == [("verified so far, in all runs", "35"), ("· deliverable", "25"), ("· risky", "10")]


def test_a_run_that_verified_none_shows_no_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to count."""
    assert _rows(capsys, verified=0, verdicts={})[-1] == ("contacts a minute", "0")
