"""Where the file of a request goes: a folder, a URL, or a storage block, for workers that keep no files."""

from pathlib import Path

import fsspec  # type: ignore[import-untyped]  # it brings no types
import pytest
from prefect.filesystems import LocalFileSystem

from blocks.run_tags import marked
from bouncer.errors import InputRefused
from flows.requests.export_request import export_request
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses, queue


@on_sqlite
async def test_an_export_outlives_the_machine_of_its_worker(set_up_account: SetUpAccount, tmp_path: Path) -> None:
    """The same lines are in the folder, at the URL and in the storage; nothing is left in between."""
    engine = await set_up_account()
    queue(engine, addresses(5), request=7301)
    stored = tmp_path / "stored"
    stored.mkdir()
    await LocalFileSystem(basepath=str(stored)).save("exports-of-tests")
    with marked():
        assert await export_request(7301, str(tmp_path)) == str(tmp_path / "request-7301.csv")
        assert await export_request(7301, "memory://exports/") == "memory://exports/request-7301.csv"
        place = await export_request(7301, "block:local-file-system/exports-of-tests")
        with pytest.raises(InputRefused, match="block local-file-system/nowhere is missing; save it in the Prefect UI"):
            await export_request(7301, "block:local-file-system/nowhere")
    assert place == "block:local-file-system/exports-of-tests/request-7301.csv"
    written = (tmp_path / "request-7301.csv").read_bytes()
    assert written.count(b"\n") == 6
    assert fsspec.filesystem("memory").cat("/exports/request-7301.csv") == written
    assert {one.name: one.read_bytes() for one in stored.iterdir()} == {"request-7301.csv": written}
    await LocalFileSystem.adelete("exports-of-tests")
