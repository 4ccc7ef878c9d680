"""A person is gone from files that are ours, and those of others are named."""

import os
from pathlib import Path

from sqlalchemy import Engine

from bouncer.addresses.normalisation import address_key
from bouncer.erasure.erasing import erase_request
from bouncer.files.importing import import_contacts
from bouncer.requests.requeueing import requeue
from tests.bouncer.contacts import (
    load_verdicts,
    queue_rows,
    verdicts,
    verify,
)
from tests.bouncer.erasure.people import ANN, BOB, EVE, erase, one_batch
from tests.bouncer.storage.existing_tables import on_sqlite


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
    report = erase(engine, folder=exports)
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
    assert erase(engine).files == ()
    for request in (1, 2):
        assert erase_request(engine, request, by="me", exports=[]).files == ()
    assert ANN in own.read_text()


def test_the_same_list_again_is_verified_as_ever(engine: Engine, tmp_path: Path) -> None:
    """An erased person is not remembered, so a list that still has the address brings it back; requeueing does not."""
    source = tmp_path / "list.csv"
    source.write_text(f"email\n{BOB}\n{ANN}\n")
    import_contacts(engine, source)
    erase(engine)
    assert requeue(engine).contacts == 0
    assert [row.email for row in queue_rows(engine)] == [BOB]
    assert import_contacts(engine, source).queued == 1


@on_sqlite
def test_nothing_is_left_in_the_file_of_sqlite(engine: Engine) -> None:
    """Neither in pages that are free, nor in the journal."""
    batch = one_batch(engine, *(f"{number}.{ANN}" for number in range(300)), ANN)
    load_verdicts(engine, verify(engine, batch), verdicts([ANN]))
    erase(engine)
    database = Path(str(engine.url.database))
    held = b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    assert b"299." + ANN.encode() in held
    assert b"\x00" + ANN.encode() not in held
    assert held.count(ANN.encode()) == held.count(b"." + ANN.encode())
    assert address_key(ANN) not in held
