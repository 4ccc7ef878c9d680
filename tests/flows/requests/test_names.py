"""Forms of flows take a request by its name, as people know it, or by its number, as programs do."""

import csv
from pathlib import Path

import pytest

from blocks.run_tags import marked
from bouncer.errors import InputRefused
from flows.costs.forecast import forecast
from flows.ingest import ingest
from flows.requests.cancel import cancel
from flows.requests.export_request import export_request
from flows.requeue import requeue
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue


@on_sqlite
async def test_a_form_takes_the_name_of_a_request(set_up_account: SetUpAccount, tmp_path: Path) -> None:
    """Only its contacts are meant; an unknown name is answered with the nearest."""
    engine = await set_up_account()
    queue(engine, addresses(5), request=7201)
    queue(engine, addresses(4, prefix="other"), request=7202)
    name = "request 7201"
    with marked():
        assert (await forecast(name)).contacts == 5
        assert (await ingest(name)).verified == 5
        await export_request(name, str(tmp_path))
        lines = (tmp_path / "request-7201.csv").read_text().splitlines()
        assert {row["request_id"] for row in csv.DictReader(lines)} == {"7201"}
        assert (await requeue("request 7202", dry_run=True)).contacts == 0
        assert (await cancel("request 7202", dry_run=True)).withdrawn == 4
        with pytest.raises(InputRefused, match="there is no request request 7203; do you mean request 720"):
            await cancel("request 7203", dry_run=True)
