"""A Prefect server that keeps its leases in memory is killed: its slots leak, and the work goes on all the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bouncer.storage.engine import engine_for
from bouncer.storage.migrate import upgrade
from deployments.server import entrance
from tests.bouncer.storage.existing_tables import on_mariadb
from tests.chaos.servers import PrefectServer
from tests.contacts import addresses, assert_verified_once, queue
from tests.deployments.running_commands import Started, clean_environment, run
from tests.sandbox_process import SandboxHandle

_SLOTS = 3

_eventually = retry(
    retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.2), stop=stop_after_delay(90), reraise=True
)


def _with_leases_in_memory(*about: Any) -> Mapping[str, str]:
    name = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    return {**entrance.server_environment(*about), name: "prefect.server.concurrency.lease_storage.memory"}


@on_mariadb
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.thorough
def test_a_server_that_forgot_its_leases_does_not_keep_a_run_waiting_for_ever(
    sandbox: SandboxHandle, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with all slots taken, it counts them as taken for ever; the run that is under way frees and uses them."""
    monkeypatch.setattr("deployments.server.local_server.server_environment", _with_leases_in_memory)
    prefect = PrefectServer(tmp_path / "server")
    engine = engine_for(database_url)
    upgrade(engine)
    queue(engine, addresses(60))
    sandbox.post("/_sandbox/settings", {"fixed_seconds": 6})
    prefect.start()
    environment = clean_environment(
        tmp_path,
        PREFECT_API_URL=prefect.api_url,
        PREFECT_HOME=str(tmp_path / "client"),
        DATABASE_URL=database_url,
        BOUNCER_API_KEY=sandbox.key,
        BOUNCER_API_BASE_URL=sandbox.url,
        MAX_CONCURRENT_BATCHES=str(_SLOTS),
        BATCH_SIZE="10",
        POLL_SECONDS_MIN="0.2",
        POLL_SECONDS_MAX="1",
    )
    try:
        warned = run(["setup"], environment)
        assert (warned.code, "keeps slot leases in memory" in warned.err) == (0, True)
        with Started(["ingest", "--json"], tmp_path, environment) as ingest:

            @_eventually
            def all_slots_are_taken() -> None:
                assert sandbox.ledger()["in_flight_now"] == _SLOTS

            all_slots_are_taken()
            prefect.kill()
            prefect.start()
            assert prefect.held_slots("bouncer-batches") == _SLOTS
            sandbox.post("/_sandbox/settings", {"fixed_seconds": 0.1})
            done = ingest.ended(240)
        assert "keeps slot leases in memory" in done.err
        assert (done.code, done.answer["outcome"], done.answer["verified"]) == (0, "drained", 60)
        assert_verified_once(engine, sandbox, contacts=60)
        assert sandbox.ledger()["most_in_flight"] == _SLOTS
    finally:
        prefect.stop()
        engine.dispose()
