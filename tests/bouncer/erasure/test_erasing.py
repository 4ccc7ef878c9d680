"""A person or a request is gone from everything that is written here, whatever was under way, and sums stay true."""

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select, update

from bouncer.addresses.normalisation import address_key
from bouncer.batches import admission, transitions
from bouncer.batches.admission import Admission
from bouncer.costs.ledger import take_ledger
from bouncer.erasure.addresses import Wanted
from bouncer.erasure.erasing import Erased, erase_person, erase_request
from bouncer.errors import InputRefused, OwnershipLost
from bouncer.files.importing import import_contacts
from bouncer.requests.counting import count_contacts
from bouncer.requests.requeueing import requeue
from bouncer.storage.engine import read, write
from bouncer.storage.tables import Base, Contact, Request, Result, User
from bouncer.upkeep import deletions
from tests.bouncer.contacts import (
    ACCOUNT,
    batch_rows,
    claim,
    load_verdicts,
    new_request,
    queue,
    queue_again,
    queue_rows,
    sent,
    take,
    upload,
    verdicts,
    verify,
)
from tests.bouncer.storage.existing_tables import on_sqlite

ANN = "Ann.Marked@example.com"
BOB = "bob@example.com"
EVE = "eve@example.org"


def _erase(engine: Engine, email: str = ANN, folder: Path = Path("nowhere")) -> Erased:
    return erase_person(engine, email, exports=[folder])


def _all_of(engine: Engine) -> str:
    """Every value of every table."""
    with engine.connect() as connection:
        return repr([connection.execute(select(table)).all() for table in Base.metadata.sorted_tables]).lower()


def assert_gone(engine: Engine, email: str = ANN) -> None:
    """Neither the address nor its digest is in any table."""
    everything = _all_of(engine)
    assert email.lower() not in everything
    assert repr(address_key(email)).lower() not in everything


def _one_batch(engine: Engine, *emails: str) -> int:
    queue(engine, emails)
    (batch,) = claim(engine, batches=1).batches
    return batch.id


def test_a_person_is_gone_from_every_table(engine: Engine) -> None:
    """Contact, queue, verdict, the user's address, names of requests, and what Bouncer suggested for another."""
    batch = _one_batch(engine, ANN, BOB)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN, BOB], didYouMean=ANN.upper()))
    with engine.begin() as connection:
        connection.execute(insert(User).values(email=ANN.upper()))
        connection.execute(update(Request).values(name=f"list of {ANN}"))
    report = _erase(engine)
    assert (report.contacts, report.queue_rows, report.results, report.users) == (1, 1, 1, 1)
    assert (report.batches_to_delete, report.batches_at_bouncer) == (1, 0)
    assert_gone(engine)
    assert BOB in _all_of(engine)
    assert _erase(engine).is_nothing


def test_neighbours_with_longer_addresses_stay(engine: Engine) -> None:
    """joann@… and ann@….uk are other people."""
    others = ["joann@example.com", "ann@example.com.uk", "x.ann@example.com", "ann@example.company"]
    queue(engine, ["ann@example.com", "ANN@Example.com ", *others])
    assert _erase(engine, "ann@example.com").contacts == 2
    assert [row.email for row in queue_rows(engine)] == others


def test_the_ledger_stays_true(engine: Engine) -> None:
    """What was paid for an erased address was paid: before it was erased, and while it was on its way."""
    loaded = _one_batch(engine, ANN, BOB)
    load_verdicts(engine, verify(engine, loaded), verdicts([ANN, BOB]))
    before = read(engine, take_ledger).total
    _erase(engine)
    assert read(engine, take_ledger).total == before

    on_its_way = verify(engine, _one_batch(engine, ANN, EVE))
    _erase(engine)
    report = load_verdicts(engine, on_its_way, verdicts([ANN, EVE]))
    assert (report.settled, report.missing, report.unmatched, report.maybe_paid) == (1, 0, 0, 0)
    after = read(engine, take_ledger).total
    assert (after.charged, after.expected, after.difference) == (4, 4, 0)
    assert_gone(engine)


@pytest.mark.parametrize("verified", [False, True])
def test_a_late_load_brings_nobody_back(engine: Engine, verified: bool) -> None:
    """Erased while Bouncer had the batch: its load stores the others, and the batch is deleted there."""
    id_ = _one_batch(engine, ANN, BOB)
    batch = verify(engine, id_) if verified else upload(engine, id_)
    assert _erase(engine).batches_at_bouncer == 1
    assert read(engine, deletions.to_delete, ACCOUNT, every=False) == []
    if not verified:
        write(engine, transitions.record_verified, batch, 2)
        batch = take(engine, id_)
    assert load_verdicts(engine, batch, verdicts([ANN, BOB])).settled == 1
    assert_gone(engine)
    assert [row.status for row in queue_rows(engine)] == ["completed"]
    assert read(engine, deletions.to_delete, ACCOUNT, every=False) == [(id_, f"bouncer-{id_}")]


def test_a_batch_that_bouncer_has_deleted_is_not_promised_again(engine: Engine) -> None:
    """The second person of one batch: there is nothing left to ask Bouncer for."""
    batch = _one_batch(engine, ANN, BOB)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN, BOB]))
    assert _erase(engine).batches_to_delete == 1
    write(engine, deletions.note_deleted, batch)
    assert _erase(engine, BOB).batches_to_delete == 0
    assert read(engine, deletions.to_delete, ACCOUNT, every=False) == []


def test_a_batch_of_nobody_else_comes_to_its_end(engine: Engine) -> None:
    """All of its addresses erased, it is loaded as it is, and its request is not stuck."""
    batch = upload(engine, _one_batch(engine, ANN))
    _erase(engine)
    write(engine, transitions.record_verified, batch, 1)
    assert load_verdicts(engine, take(engine, batch.id), verdicts([ANN])).unmatched == 0
    (row,) = batch_rows(engine)
    assert (row.status, row.credits, row.expected_credits) == ("completed", 1, 1)
    assert_gone(engine)


def test_what_was_not_sent_is_never_sent(engine: Engine) -> None:
    """A run that has read the addresses of a batch finds it gone; the other contacts are claimed anew."""
    id_ = _one_batch(engine, ANN, BOB)
    work = take(engine, id_)
    assert len(sent(engine, id_)) == 2
    assert _erase(engine).batches_undone == 1
    with pytest.raises(OwnershipLost):
        write(engine, admission.admit_upload, work, 15)
    (again,) = claim(engine, batches=1).batches
    assert sent(engine, again.id) == [BOB]


def test_a_refused_upload_is_not_repeated_with_the_erased(engine: Engine) -> None:
    """Erased while an upload waited for its answer, an address is not in the next try of that upload."""
    id_ = _one_batch(engine, ANN, BOB)
    work = take(engine, id_)
    read_before = read(engine, admission.erased_so_far, id_)
    assert write(engine, admission.admit_upload, work, 15, erased=read_before) is Admission.ADMITTED
    _erase(engine)
    write(engine, transitions.record_refused_upload, work)
    assert write(engine, admission.admit_upload, work, 15, erased=read_before) is Admission.ERASED
    assert sent(engine, id_) == [BOB]


def test_a_lost_upload_stays_counted(engine: Engine) -> None:
    """Its batch is undone, its possible double payment stays in the ledger, and nobody claims that Bouncer forgets."""
    id_ = _one_batch(engine, ANN, BOB)
    work = take(engine, id_)
    write(engine, admission.admit_upload, work, 15)
    write(engine, transitions.record_lost_upload, work, hold=False)
    report = _erase(engine)
    assert any("lost" in place for place in report.not_reached)
    assert read(engine, take_ledger).total.maybe_paid_twice == 2
    assert_gone(engine)


def test_an_application_that_changed_the_address_keeps_its_contact(engine: Engine) -> None:
    """A contact that had the address once is another person's now: the digest and the verdict go, the row stays."""
    batch = _one_batch(engine, ANN)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN]))
    with engine.begin() as connection:
        connection.execute(update(Contact).values(email=EVE))
    _erase(engine)
    assert_gone(engine)
    assert read(engine, lambda c: c.execute(select(Contact.email, Contact.bouncer_status)).all()) == [(EVE, None)]
    assert read(engine, lambda c: c.scalar(select(func.count()).select_from(Result))) == 0


def test_rows_of_an_application_stay_and_are_named(engine: Engine) -> None:
    """A table with columns of its own is the application's: what was written into it is gone, the rest is reported."""
    batch = _one_batch(engine, ANN)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN]))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE Contacts_Global ADD COLUMN telephone varchar(20)")
    report = _erase(engine)
    assert any("Contacts_Global" in place for place in report.not_reached)
    row = read(engine, lambda c: c.execute(select(Contact.__table__)).one())
    assert (row.email, row.bouncer_address_key, row.bouncer_status) == (ANN, None, None)
    assert queue_rows(engine) == []


def test_looking_changes_nothing(engine: Engine) -> None:
    """A dry run tells what would go, and everything is as it was."""
    _one_batch(engine, ANN, BOB)
    before = _all_of(engine)
    report = erase_person(engine, ANN, exports=[], dry_run=True)
    assert (report.contacts, report.batches_undone, report.dry_run) == (1, 1, True)
    request = queue_rows(engine)[0].request_id
    assert erase_request(engine, request, by="me", exports=[], dry_run=True).queue_rows == 2
    assert _all_of(engine) == before


@on_sqlite
@pytest.mark.parametrize("given", ["", "ann", "@", "ann@", "a b@example.com"])
def test_what_is_no_address_is_refused(engine: Engine, given: str) -> None:
    """Half an address would be found in everybody's."""
    with pytest.raises(InputRefused):
        _erase(engine, given)


def test_a_request_is_gone_and_its_costs_are_not(engine: Engine) -> None:
    """Contacts, verdicts and name go; the sums of the ledger and the contacts of others stay."""
    shared, own = queue(engine, [BOB, ANN])
    request = queue_rows(engine)[0].request_id
    (batch,) = claim(engine, batches=1).batches
    load_verdicts(engine, verify(engine, batch.id), verdicts([ANN, BOB]))
    other = new_request(engine)
    queue_again(engine, [shared], request_id=other)
    costs = read(engine, take_ledger).total
    report = erase_request(engine, request, by="me", exports=[])
    assert (report.contacts, report.queue_rows) == (1, 2)
    assert_gone(engine)
    assert read(engine, take_ledger).total == costs
    assert read(engine, lambda c: c.scalar(select(Request.name).where(Request.request_id == request))) is None
    assert [(row.email, row.request_id, row.bouncer_status) for row in queue_rows(engine)] == [
        (BOB, other, "deliverable")
    ]
    assert own


def test_a_request_under_way_ends_and_others_get_their_verdicts(engine: Engine) -> None:
    """What others wait for too is not paid for again: the verdict that is on its way becomes theirs."""
    shared, _ = queue(engine, [BOB, ANN])
    request = queue_rows(engine)[0].request_id
    (claimed,) = claim(engine, batches=1).batches
    batch = verify(engine, claimed.id)
    other = new_request(engine)
    queue_again(engine, [shared], request_id=other)
    erase_request(engine, request, by="me", exports=[])
    report = load_verdicts(engine, batch, verdicts([ANN, BOB]))
    assert (report.settled, report.unmatched) == (1, 0)
    assert [(row.email, row.request_id, row.status) for row in queue_rows(engine)] == [(BOB, other, "completed")]
    assert read(engine, count_contacts, request).total == 0
    assert_gone(engine)


def test_what_a_person_may_still_be_in_is_said(engine: Engine, tmp_path: Path) -> None:
    """Rejected lines lose theirs, exports of our own go, and lists and results are named for whoever answers."""
    source = tmp_path / "list.csv"
    source.write_text(f"email\n{BOB}\n{ANN}\n{ANN} or {EVE}\n")
    imported = import_contacts(engine, source)
    assert imported.rejected_file is not None
    assert ANN in imported.rejected_file.read_text()
    exports = tmp_path / "exports"
    exports.mkdir()
    export = exports / f"request-{imported.request_id}.csv"
    export.write_text(ANN)
    report = _erase(engine, folder=exports)
    assert set(report.files) == {str(imported.rejected_file), str(export)}
    assert not export.exists()
    assert ANN not in imported.rejected_file.read_text()
    assert imported.rejected_file.read_text().startswith("line,reason,value")
    assert any(str(source) in place for place in report.not_reached)
    assert any("backups" in place for place in report.not_reached)


@on_sqlite
def test_a_file_that_only_has_the_name_of_rejected_lines_stays(engine: Engine, tmp_path: Path) -> None:
    """Somebody's own file beside the list, and a pipe, are left alone."""
    for name in ("own", "pipe"):
        source = tmp_path / f"{name}.csv"
        source.write_text(f"email\n{BOB}\n{ANN}\n")
        import_contacts(engine, source)
    own = tmp_path / "own.rejected.csv"
    own.write_text(f"name,email\nAnn,{ANN}\n")
    os.mkfifo(tmp_path / "pipe.rejected.csv")
    assert _erase(engine).files == ()
    for request in (1, 2):
        assert erase_request(engine, request, by="me", exports=[]).files == ()
    assert ANN in own.read_text()


def test_a_short_name_is_not_looked_for_in_every_text() -> None:
    """``LIKE '%a%'`` would bring ten million contacts into memory."""
    wanted = Wanted.of("a@example.com")
    sql = str(wanted.maybe_in(Contact.email).compile(compile_kwargs={"literal_binds": True}))
    assert "a@" in sql


def test_the_same_list_again_is_verified_as_ever(engine: Engine, tmp_path: Path) -> None:
    """An erased person is not remembered, so a list that still has the address brings it back; requeueing does not."""
    source = tmp_path / "list.csv"
    source.write_text(f"email\n{BOB}\n{ANN}\n")
    import_contacts(engine, source)
    _erase(engine)
    assert requeue(engine).contacts == 0
    assert [row.email for row in queue_rows(engine)] == [BOB]
    assert import_contacts(engine, source).queued == 1


@on_sqlite
def test_nothing_is_left_in_the_file_of_sqlite(engine: Engine) -> None:
    """Neither in pages that are free, nor in the journal."""
    batch = _one_batch(engine, *(f"{number}.{ANN}" for number in range(300)), ANN)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN]))
    _erase(engine)
    database = Path(str(engine.url.database))
    held = b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    assert b"299." + ANN.encode() in held
    assert b"\x00" + ANN.encode() not in held
    assert held.count(ANN.encode()) == held.count(b"." + ANN.encode())
    assert address_key(ANN) not in held
