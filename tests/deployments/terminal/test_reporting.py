"""What an ingest run did, as a table on the terminal."""

import time

import pytest

from bouncer.queue.ingest_summary import IngestSummary
from bouncer.requests.counting import Progress
from bouncer.requests.work_of_others import Standing
from deployments.terminal.reporting import print_summary
from tasks.queue.summary import Tally


def _rows(
    capsys: pytest.CaptureFixture[str], *, verified: int, verdicts: dict[str, int], pace: int | None = None
) -> list[tuple[str, str]]:
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
            contacts_a_minute=pace,
        )
    )
    lines = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    return [(what.strip(), figure.strip()) for what, figure in lines]


def test_verdicts_stand_below_the_contacts_that_they_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    """The first run's are those that it verified."""
    rows = _rows(capsys, verified=30, verdicts={"deliverable": 20, "risky": 10}, pace=30)
    assert rows[:3] == [("contacts verified", "30"), ("· deliverable", "20"), ("· risky", "10")]
    assert rows[-1] == ("contacts a minute", "30")


def test_verdicts_of_earlier_runs_are_not_shown_as_this_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A second run over 5 contacts seemed to have found 25 deliverable ones."""
    rows = _rows(capsys, verified=5, verdicts={"deliverable": 25, "risky": 10})
    assert rows[:2] == [("contacts verified", "5"), ("contacts failed", "0")]
    assert rows[-3:] == [("verified so far, in all runs", "35"), ("· deliverable", "25"), ("· risky", "10")]


def test_a_run_that_verified_none_shows_no_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to count, and nothing that was quick."""
    assert _rows(capsys, verified=0, verdicts={})[-1] == ("seconds", "60.0")


@pytest.mark.parametrize(
    ("worked_on", "reused", "pace"),
    [({8, 9}, 0, 600), ({8, 9}, 40, 360), ({7, 8}, 0, None), (set(), 100, None)],
    ids=["all its own", "some known already", "one sent by an earlier run", "all known already"],
)
def test_only_what_bouncer_did_in_this_run_has_a_pace(worked_on: set[int], reused: int, pace: int | None) -> None:
    """After a restart, 705,882 contacts a minute were told: an earlier run had sent them, and this one loaded them."""
    began = Standing(None, None, Progress(), credits=0, last_batch=7, unsettled=frozenset({7}))
    tally = Tally(began, set(), reused=reused, worked_on=worked_on, began=time.monotonic() - 10)
    assert tally.pace(100) == pace
