"""Old verdicts are renewed, the oldest first, and never beyond the month's budget."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, func, select, update

from bouncer.repeats import reverification
from bouncer.repeats.reverification import Old, Reverified
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Contact, Request, Reverification
from tests.bouncer.contacts import at_once, claim, load_verdicts, queue, queue_rows, verdicts, verify

_DAY = 86_400


def _known(engine: Engine, ages: dict[str, int], status: str = "deliverable") -> None:
    """Contacts whose verdicts are so many days old."""
    queue(engine, ages)
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(ages, status=status))
    now = read(engine, database_now)
    for address, days in ages.items():
        moment = now - timedelta(days=days)
        write(
            engine,
            lambda c, a=address, m=moment: c.execute(
                update(Contact).where(Contact.email == a).values(bouncer_verified_ts=m)
            ),
        )


def _reverify(engine: Engine, *, days: float = 100, budget: int = 100, dry_run: bool = False) -> Reverified:
    return reverification.reverify(engine, Old(days), monthly_budget=budget, dry_run=dry_run)


def _waiting(engine: Engine) -> list[str]:
    return [row.email for row in queue_rows(engine) if row.status == "queued"]


def test_the_oldest_verdicts_are_renewed(engine: Engine) -> None:
    """Contacts beyond the limit wait again at low priority, in a request of the month, and are verified anew."""
    _known(engine, {"new@example.com": 10, "old@example.com": 101, "oldest@example.com": 300})
    report = _reverify(engine, days=60)
    assert (report.contacts, report.budget_left, report.is_cancelled) == (2, 98, False)
    assert _waiting(engine) == ["oldest@example.com", "old@example.com"]
    name = read(engine, lambda c: c.scalar(select(Request.name).where(Request.request_id == report.request_id)))
    assert name == f"re-verification {report.month}"
    # A verdict of 60 days is good for 90 to anybody else.
    (batch,) = claim(engine).batches
    assert (batch.quantity, batch.priority, batch.request_id) == (2, 25, report.request_id)


def test_a_look_that_found_nothing_out_is_not_repeated_every_night(engine: Engine) -> None:
    """The contact keeps its old verdict; it has had its turn, and the budget goes to others."""
    _known(engine, {"old@example.com": 300})
    assert _reverify(engine).contacts == 1
    (batch,) = claim(engine).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts(["old@example.com"], status="unknown"))
    (row,) = [row for row in queue_rows(engine) if row.batch_id == batch.id]
    assert (row.status, row.bouncer_status) == ("completed", "deliverable")
    assert _reverify(engine).contacts == 0


def test_a_budget_holds_over_all_runs_of_a_month(engine: Engine) -> None:
    """What earlier runs have queued counts, also when its rows are gone; the next month begins anew."""
    _known(engine, {f"a{number}@example.com": 200 + number for number in range(10)})
    assert _reverify(engine, budget=4).contacts == 4
    assert _waiting(engine) == [f"a{number}@example.com" for number in (9, 8, 7, 6)]
    assert (_reverify(engine, budget=4).contacts, _reverify(engine, budget=6).contacts) == (0, 2)
    write(engine, lambda c: c.execute(delete(Request).where(Request.name.like("re-verification %"))))
    assert _reverify(engine, budget=6).contacts == 0
    write(engine, lambda c: c.execute(update(Reverification).values(month="2020-01")))
    assert _reverify(engine, budget=6).contacts == 6


def test_runs_at_once_book_no_contact_and_no_budget_twice(engine: Engine) -> None:
    """Four runs at the same moment queue each contact once, and together no more than the budget."""
    _known(engine, {f"a{number}@example.com": 200 for number in range(30)})
    reports = at_once([lambda: _reverify(engine, budget=20)] * 4)
    assert sum(report.contacts for report in reports) == 20
    assert len(set(_waiting(engine))) == len(_waiting(engine)) == 20
    assert read(engine, lambda c: c.scalar(select(Reverification.contacts))) == 20


def test_who_waits_already_is_not_queued_again(engine: Engine) -> None:
    """A contact that is on its way to a verdict, for whomever, needs no other one."""
    _known(engine, {"a@example.com": 200})
    assert _reverify(engine).contacts == 1
    assert _reverify(engine).contacts == 0


@pytest.mark.parametrize(("statuses", "contacts"), [((), 2), (("deliverable",), 1), (("unknown",), 0)])
def test_only_some_verdicts(engine: Engine, statuses: tuple[str, ...], contacts: int) -> None:
    """Who wants only the good addresses renewed says so."""
    _known(engine, {"good@example.com": 200})
    _known(engine, {"bad@example.com": 200}, status="undeliverable")
    assert reverification.reverify(engine, Old(100, statuses), monthly_budget=10).contacts == contacts


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    """It tells what a run would do, and leaves queue and budget as they are."""
    _known(engine, {"a@example.com": 200, "b@example.com": 1})
    report = _reverify(engine, budget=5, dry_run=True)
    assert (report.contacts, report.budget_left, report.request_id) == (1, 4, None)
    assert _waiting(engine) == []
    assert read(engine, lambda c: c.scalar(select(func.count()).select_from(Reverification))) == 0


def test_a_cancelled_request_ends_the_months_re_verification(engine: Engine) -> None:
    """Whoever cancels the month's request does not want it filled again the next night."""
    _known(engine, {"a@example.com": 200, "b@example.com": 150})
    report = _reverify(engine, budget=1)
    cancel = update(Request).where(Request.request_id == report.request_id)
    write(engine, lambda c: c.execute(cancel.values(bouncer_cancelled_ts=func.current_timestamp())))
    again = _reverify(engine, budget=5)
    assert (again.contacts, again.is_cancelled) == (0, True)
