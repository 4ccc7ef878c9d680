"""The narrowest user of docs/security.md does all there is to do, beside an application's tables too, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from bouncer.costs.ledger import take_ledger
from bouncer.credits.caps import set_cap
from bouncer.erasure.erasing import erase_person, erase_request
from bouncer.files.exporting import export_results
from bouncer.files.importing import import_contacts
from bouncer.monitoring.status import count_everything
from bouncer.queue import claiming
from bouncer.repeats import deep_pass
from bouncer.repeats.deep_pass import Risk
from bouncer.repeats.reverification import Old, reverify
from bouncer.requests import cancelling
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import engine_for, read, write
from bouncer.storage.migrate import pending, upgrade
from bouncer.storage.tables import Base, Contact, Layer, QueuedContact
from bouncer.upkeep import retention
from bouncer.upkeep.move_database import move
from bouncer.verdicts.freshness import FreshFor
from tests.bouncer.contacts import batch_rows, claim, load_verdicts, queue, set_back, upload, verdicts, verify
from tests.bouncer.storage.existing_tables import PORTABLE_APPLICATION
from tests.contacts import addresses
from tests.database_server import DatabaseServer
from tests.trust.database.granting import Granting, statements

_OF_APPLICATION = (
    *PORTABLE_APPLICATION,
    "ALTER TABLE Contacts_Global MODIFY global_id int AUTO_INCREMENT, ADD COLUMN telephone varchar(20)",
    "ALTER TABLE Requests MODIFY request_id int AUTO_INCREMENT, ADD COLUMN budget int",
    "ALTER TABLE Users MODIFY id int AUTO_INCREMENT",
)
"""An application's tables, with columns of its own in each."""


@pytest.fixture
def granting(server: DatabaseServer, server_url: str) -> Granting:
    """The users, on an empty database."""
    return Granting(server, server_url)


@pytest.fixture(params=["own tables", "adopted tables"])
def narrow(request: pytest.FixtureRequest, granting: Granting, server_url: str) -> Iterator[Engine]:
    """The narrowest user, on tables that setup has made, or adopted."""
    if request.param == "adopted tables":
        application = engine_for(server_url)
        with application.begin() as connection:
            for statement in _OF_APPLICATION:
                connection.exec_driver_sql(statement)
        application.dispose()
    setup = engine_for(granting.grant("setup"))
    upgrade(setup)
    setup.dispose()
    engine = engine_for(granting.grant("narrow"))
    yield engine
    engine.dispose()


def test_the_narrow_user_does_everything(narrow: Engine, tmp_path: Path) -> None:
    """From an import to an erasure, with the deep pass, caps, cancellation, second looks and housekeeping."""
    assert pending(narrow) == []
    emails = addresses(20)
    file = tmp_path / "list.csv"
    file.write_text("\n".join(["email", *emails]))
    request = import_contacts(narrow, file, user="owner@example.com", max_credits=100).request_id
    (batch,) = claim(narrow, batches=1).batches
    load_verdicts(
        narrow, verify(narrow, batch.id), verdicts(emails, status="risky", reason="low_deliverability", score=30)
    )
    write(narrow, set_cap, request, None)
    picked = deep_pass.pick_some(narrow, request, Risk(), after=0, fresh_days=90, again=False)
    assert picked.picked == 20
    (deep,) = claiming.claim(narrow, "deep", batches=1, batch_size=100, fresh_for=FreshFor(), layer=Layer.DEEP).batches
    load_verdicts(narrow, verify(narrow, deep.id), verdicts(emails, status="unknown", reason="timeout"))
    # However long all that took, the look was within the day and the verdict is older.
    set_back(narrow, Contact.bouncer_verified_ts, 2 * 86_400)
    assert reverify(narrow, Old(1, (), FreshFor(days=1)), monthly_budget=5).contacts == 0
    again = tmp_path / "again.csv"
    again.write_text("\n".join(["email", *emails, *addresses(10, prefix="later")]))
    second = import_contacts(narrow, again).request_id
    (under_way,) = claim(narrow, batches=1).batches
    uploaded = upload(narrow, under_way.id)
    assert cancelling.mark(narrow, second, by="me", reason="by hand")
    assert cancelling.withdraw_waiting(narrow, second) == 0
    assert erase_person(narrow, emails[0], exports=[]).contacts == 1
    assert erase_request(narrow, second, by="me", exports=[]).batches_at_bouncer == 1
    assert uploaded.id in {row.id for row in batch_rows(narrow)}
    assert requeue(narrow).contacts == 0
    assert export_results(narrow, tmp_path / "result.csv", request_id=request).rows == 19
    assert read(narrow, count_everything).contacts.completed
    assert read(narrow, take_ledger).total.addresses == 40
    set_back(narrow, retention.OLD_ROWS["metric_days"].moment, 0)
    assert retention.delete_results(narrow, batch.id) == 19


def test_the_narrow_user_does_no_more(narrow: Engine, granting: Granting) -> None:
    """No table is changed, no row of the application deleted, no column of its own read."""
    for denied in (
        "CREATE TABLE another (id INT)",
        "DROP TABLE Bouncer_Health_Metrics",
        "ALTER TABLE Bouncer_Batches ADD COLUMN another INT",
        "DELETE FROM Users",
        "DELETE FROM Requests",
        "DELETE FROM Contacts_Global",
        "UPDATE Contacts_Global SET email = 'x'",
        "UPDATE Users SET id = 7",
        "UPDATE bouncer_schema_version SET version_num = 'x'",
        "SELECT * FROM mysql.user",
    ):
        with narrow.connect() as connection, pytest.raises(DBAPIError, match="denied"):
            connection.exec_driver_sql(denied)
    with narrow.connect() as connection:
        # Without its escapes, the grant on the whole database reached those of similar names.
        grants = "\n".join(str(row[0]) for row in connection.exec_driver_sql("SHOW GRANTS"))
    assert f"`{granting.name.replace('_', chr(92) + '_')}`.*" in grants.replace(chr(92) * 2, chr(92))


def test_the_narrow_user_moves_in(granting: Granting, tmp_path: Path) -> None:
    """Out of an SQLite file, with all that was paid for."""
    setup = engine_for(granting.grant("setup"))
    upgrade(setup)
    setup.dispose()
    old = engine_for(f"sqlite:///{tmp_path / 'contacts.db'}")
    upgrade(old)
    queue(old, addresses(30))
    (batch,) = claim(old, batches=1).batches
    load_verdicts(old, verify(old, batch.id), verdicts(addresses(30)))
    new = engine_for(granting.grant("narrow"))
    assert move(tmp_path / "contacts.db", new).rows["Bouncer_Results"] == 30
    assert read(new, lambda c: c.scalar(select(func.count()).select_from(QueuedContact))) == 30
    new.dispose()


def test_with_the_right_to_delete_contacts_erasing_leaves_none(granting: Granting) -> None:
    """The statement that the page has for tables of this project's own."""
    setup = engine_for(granting.grant("setup"))
    upgrade(setup)
    setup.dispose()
    engine = engine_for(granting.grant("narrow", "erase"))
    queue(engine, addresses(3))
    report = erase_person(engine, addresses(1)[0], exports=[])
    assert report.contacts == 1
    assert not any("Contacts_Global" in place for place in report.not_reached)
    engine.dispose()


def test_the_page_names_every_table_and_column() -> None:
    """A table or a column that is added gets its grant."""
    page = statements("narrow")
    for table in Base.metadata.sorted_tables:
        assert f".{table.name} TO" in page
    for table in Base.metadata.sorted_tables:
        if not table.name.startswith("Bouncer_"):
            granted = next(each for each in page.split(";") if f".{table.name} TO" in each)
            assert all(granted.count(column.name) >= 2 for column in table.columns), table.name
