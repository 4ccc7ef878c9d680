"""Each setting by itself, without a Prefect server: tables, an import, a claim and verdicts, or a refusal."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from bouncer.errors import BouncerFlowsError
from bouncer.files.importing import import_contacts
from bouncer.storage.engine import engine_for, probe
from bouncer.storage.migrate import upgrade
from tests.bouncer.contacts import claim, load_verdicts, queue_rows, sent, verdicts, verify
from tests.database_server import DatabaseServer, skip_or_fail
from tests.servers.job import database_url
from tests.servers.running import certificates, start_options
from tests.servers.settings import SETTINGS, Setting

pytestmark = pytest.mark.thorough

_CONTACTS = 600


@pytest.mark.parametrize(
    ("kind", "setting"),
    [pytest.param(kind, setting, id=f"{kind.NAME}, {setting.name}") for setting in SETTINGS for kind in setting.kinds],
)
def test_the_way_of_a_contact_with_each_setting(kind: type[DatabaseServer], setting: Setting, tmp_path: Path) -> None:
    """What `make servers` does by commands and with kills, in seconds: one verdict each, or a line before anything."""
    skip_or_fail(kind.missing())
    files = certificates(tmp_path)
    with kind(options=start_options(setting, files), zone=setting.zone()) as server:
        engine = engine_for(database_url(server, setting, files))
        if setting.refused:
            with pytest.raises(BouncerFlowsError, match=setting.refused) as refused:
                _set_up(engine)
            assert "\n" not in str(refused.value)
            return
        _set_up(engine)
        file = tmp_path / "contacts.csv"
        file.write_text("".join(f"person{number}@example{number % 9}.com\n" for number in range(_CONTACTS)))
        assert import_contacts(engine, file).queued == _CONTACTS
        (batch,) = claim(engine).batches
        work = verify(engine, batch.id)
        assert load_verdicts(engine, work, verdicts(sent(engine, batch.id))).settled == _CONTACTS
        assert {row.status for row in queue_rows(engine)} == {"completed"}
        engine.dispose()


def _set_up(engine: Engine) -> None:
    probe(engine)
    upgrade(engine)
