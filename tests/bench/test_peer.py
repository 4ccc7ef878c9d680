"""The peer of the benchmark does the same work within the same limits, so that its figures are worth a comparison."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from bench.draining import Work, environment_of
from bench.peer.process import running_peer
from bench.peer.programs import Missing, Programs, programs_of_peer
from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from bouncer.storage.tables import Batch
from tests.contacts import addresses, assert_verified_once, queue
from tests.sandbox_process import running_sandbox


@pytest.fixture(scope="module")
def programs() -> Programs:
    try:
        return programs_of_peer()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.thorough
@pytest.mark.timeout(400)
def test_the_peer_verifies_every_contact_within_bouncers_limits(
    programs: Programs, mariadb_url: str, tmp_path: Path
) -> None:
    """Twenty batches on fifteen slots, asked for far more often than the limit allows: by the sandbox's own books."""
    work = Work(batches=20, batch_size=50, slots=15, seconds=2, poll_min=0.1, poll_max=0.1)
    engine = engine_for(mariadb_url)
    upgrade(engine)
    queue(engine, addresses(work.contacts))
    with running_sandbox(fixed_seconds=work.seconds, parallel=work.parallel) as sandbox:
        variables = environment_of(work, mariadb_url, tmp_path, sandbox)
        with running_peer(programs, variables, tmp_path) as (peer, _):
            peer.wait()
        ledger = sandbox.ledger()
        assert_verified_once(engine, sandbox, contacts=work.contacts)
    assert ledger["batches"] == ledger["downloads"] == work.batches
    assert ledger["most_in_flight"] == work.slots
    assert ledger["most_requests_in_60s"] <= 200
    assert ledger["answers_by_status"].keys() == {"200"}
    with engine.connect() as connection:
        counted = connection.execute(
            select(Batch.status, func.count(), func.sum(Batch.quantity)).group_by(Batch.status)
        )
        assert counted.all() == [("completed", work.batches, work.contacts)]
    engine.dispose()
