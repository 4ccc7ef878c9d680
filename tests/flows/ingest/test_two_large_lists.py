"""At full size: 200,000 contacts, sent twice with 30 % new the second time, are paid for once and forecast rightly."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from blocks.access import open_access
from bouncer.costs.forecast import Forecast, forecast_file
from bouncer.files.importing import import_contacts
from bouncer.requests.users import LOCAL_USER
from bouncer.storage.dialects import database_now
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Contact
from flows.costs.forecast import forecast
from tasks.costs.forecast import terms_of
from tests.bouncer.storage.existing_tables import on_mariadb
from tests.conftest import SetUpAccount
from tests.contacts import addresses, statuses
from tests.flows.runs import ingested
from tests.sandbox_process import SandboxHandle

_CONTACTS = 200_000
_NEW = 60_000
_STALE = 1_000


def _file(folder: Path, name: str, emails: list[str]) -> Path:
    path = folder / f"{name}.csv"
    path.write_text("email\n" + "\n".join(emails) + "\n")
    return path


async def _forecast_of_file(engine: Engine, path: Path) -> Forecast:
    async with open_access("default", "test") as access:
        return forecast_file(engine, path, await terms_of(access), request=("second", LOCAL_USER))


def _let_some_grow_old(engine: Engine, emails: list[str]) -> None:
    long_ago = read(engine, database_now) - timedelta(days=91)
    deliverable = (Contact.email.in_(emails), Contact.bouncer_status == "deliverable")
    some = read(engine, lambda c: list(c.scalars(select(Contact.global_id).where(*deliverable).limit(_STALE))))
    values = {"bouncer_verified_ts": long_ago}
    write(engine, lambda c: c.execute(update(Contact).where(Contact.global_id.in_(some)).values(values)))


def _unknown(engine: Engine, emails: set[str]) -> int:
    found = read(engine, lambda c: c.scalars(select(Contact.email).where(Contact.bouncer_status == "unknown")).all())
    return len(emails.intersection(found))


@pytest.mark.audit
@pytest.mark.timeout(1800)
@on_mariadb
async def test_a_large_list_that_comes_again_is_paid_for_and_forecast_as_what_is_new_in_it(
    set_up_account: SetUpAccount,
    sandbox: SandboxHandle,
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Only new, stale and unknown addresses are sent; Bouncer's bill is within 1 % of what was forecast."""
    engine = await set_up_account(batch_size=10_000)
    began = time.monotonic()
    first = addresses(_CONTACTS)
    import_contacts(engine, _file(tmp_path, "first", first), request_name="first")
    await ingested()
    assert statuses(engine) == {"completed": _CONTACTS}
    first_bill = sandbox.ledger()["credits_charged"]
    assert first_bill == _CONTACTS - _unknown(engine, set(first))

    kept = first[_NEW:]
    _let_some_grow_old(engine, kept[: 3 * _STALE])
    unknown_again = _unknown(engine, set(kept))
    second = _file(tmp_path, "second", kept + addresses(_NEW, prefix="new"))
    forecast_of_file = await _forecast_of_file(engine, second)
    report = import_contacts(engine, second, request_name="second")
    forecast_of_queue: Forecast = await forecast(report.request_id)
    summary, _ = await ingested()

    assert (summary.outcome, summary.failed) == ("drained", 0)
    assert read(engine, lambda c: c.scalar(select(func.count()).select_from(Contact))) == _CONTACTS + _NEW
    ledger = sandbox.ledger()
    bill = ledger["credits_charged"] - first_bill
    sent_again = ledger["addresses_uploaded"] - _CONTACTS
    assert sent_again == _NEW + _STALE + unknown_again
    assert ledger["addresses_charged_twice"] == _STALE
    for told in (forecast_of_file, forecast_of_queue):
        assert (told.to_pay, told.unknown_before) == (sent_again, unknown_again)
        assert abs(told.expected_credits - bill) <= 0.01 * bill
    # For whoever runs it with --junitxml.
    record_testsuite_property("first bill", first_bill)
    record_testsuite_property("second list", f"{_NEW} new, {_STALE} stale, {unknown_again} unknown")
    record_testsuite_property("forecast", forecast_of_queue.expected_credits)
    record_testsuite_property("bill", bill)
    record_testsuite_property("seconds", round(time.monotonic() - began))
