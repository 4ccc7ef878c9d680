"""Flow ``verify-list``, and artifact ``lists``, where a person finds all lists again."""

import asyncio
import os
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.utilities.schema_tools import validate

from blocks.access import open_access
from blocks.run_tags import marked
from bouncer.errors import InputRefused
from bouncer.requests.overview import list_requests
from bouncer.requests.users import find_or_make_user
from flows.requests.verify_list import verify_list
from tasks.requests.list_report import ListReport
from tasks.requests.lists_page import publish_lists
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.contacts import addresses
from tests.deployments.running_commands import run
from tests.flows.runs import events, text_of_artifact

_STRANGE = "leads of ada@customer.example | ![x](http://evil.example/x.png)"


def _list(folder: Path) -> Path:
    path = folder / "leads.csv"
    path.write_text("No,E-Mail\n" + "".join(f"{number},{a}\n" for number, a in enumerate(addresses(20))))
    return path


async def _versions(key: str) -> int:
    async with get_client() as client:
        return len(await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))))


@on_sqlite
async def test_a_list_is_found_again_on_the_page_of_lists(set_up_account: SetUpAccount, tmp_path: Path) -> None:
    """It names the list, its owner by number, progress, verdicts and cost, and links to the run and the result."""
    engine = await set_up_account()
    owner = await asyncio.to_thread(find_or_make_user, engine, "ada@owner.example")
    with marked():
        state: State[ListReport] = await verify_list(
            str(_list(tmp_path)), name=_STRANGE, owner=owner, return_state=True
        )
    report = await state.aresult()
    page = await text_of_artifact("lists")
    row = next(line for line in page.splitlines() if line.startswith(f"| {report.request_id} |"))
    assert f"](/runs/flow-run/{state.state_details.flow_run_id})" in row
    assert f"[leads.verified.csv](/artifacts/key/list-{report.request_id})" in row
    assert "100 %" in row
    assert re.search(r"\| user \d+ \|", row)
    assert f"| {report.credits:,} |" in row
    assert "@" not in page
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table"]).parse(page)
    inline = [child for token in tokens for child in token.children or []]
    links = {str(child.attrs["href"]) for child in inline if child.type == "link_open"}
    assert all(link.startswith(("/runs/flow-run/", "/artifacts/key/")) for link in links)
    pictures = {str(child.attrs["src"]) for child in inline if child.type == "image"}
    assert all(picture.startswith("data:image/svg+xml;base64,") for picture in pictures)
    assert {child.type for child in inline} <= {
        "text",
        "text_special",
        "link_open",
        "link_close",
        "image",
        "code_inline",
    }
    assert "@" not in await text_of_artifact(f"list-{report.request_id}")
    async with get_client() as client:
        runs = await client.read_flow_runs()
    assert not [run.name for run in runs if "@" in run.name]

    written = await _versions("lists")
    async with open_access("default", "somebody") as access:
        await publish_lists(access)
    assert await _versions("lists") == written, "nothing has changed"


@pytest.mark.scenario
@on_sqlite
async def test_a_person_sees_the_column_that_verify_takes_before_and_after_paying(
    set_up_account: SetUpAccount, database_url: str, tmp_path: Path
) -> None:
    """Of two columns with addresses, nothing told which one was verified; nor where the rejected lines were."""
    await set_up_account()
    file = tmp_path / "customers.csv"
    rows = "".join(f"{number};{address};us@firm.example\n" for number, address in enumerate(addresses(20)))
    file.write_text(f"No;E-Mail;Contact\n{rows}21;none;us@firm.example\n")
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"}
    asked = run(["verify", str(file), "--ask-above", "1"], environment)
    assert asked.code == 2
    assert "20 of 21 contacts in column 'E-Mail' would be paid for" in asked.complaint
    ended = run(["verify", str(file), "--yes"], environment)
    assert ended.code == 0, ended.err
    assert "column 'E-Mail' was taken: 20 addresses in 21 lines" in ended.err
    assert f"the rejected lines and their reasons are in {file.with_name('customers.rejected.csv')}" in ended.err


@pytest.mark.scenario
@on_sqlite
async def test_no_address_reaches_the_prefect_server(
    set_up_account: SetUpAccount, database_url: str, tmp_path: Path
) -> None:
    """The owner's address, typed at the terminal, was a parameter of the run; a path or a rule may hold one too."""
    engine = await set_up_account()
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"}
    order = ["verify", str(_list(tmp_path)), "--user", "ada@owner.example"]
    ended = run([*order, "--request", "owned"], environment)
    assert ended.code == 0, ended.err
    assert [line.owner for line in await asyncio.to_thread(list_requests, engine)] == ["ada@owner.example"]
    for more in (["--where", "email == 'ada@owner.example'"], ["--request", "of ada@owner.example"]):
        refused = run([*order, *more, "--force"], environment)
        assert refused.code == 2
        assert "holds an e-mail address, which Prefect would keep" in refused.complaint
    with pytest.raises(InputRefused, match="there is no user 12345"):
        await verify_list(str(_list(tmp_path)), owner=12_345)
    async with get_client() as client:
        kept = [
            *await client.read_flow_runs(),
            *await client.read_logs(),
            *await client.read_artifacts(),
            *await events(""),
        ]
    assert "owner" in repr(kept)
    assert "ada@owner.example" not in repr(kept)


@pytest.mark.parametrize("field", ["file", "result", "name", "where", "column"])
def test_the_form_has_words_and_takes_no_address(field: str) -> None:
    """Prefect put the names of the code in the place of the titles; what it refuses by its schema it does not keep."""
    schema = verify_list.parameters.model_dump()
    assert [each["title"] for each in schema["properties"].values()][:3] == ["List", "Result", "Name of the list"]
    assert not any("_" in each["title"] for each in schema["properties"].values())
    plain = {"file": "/data/leads @ fair.csv", field: "email.str.endswith('@mole.example')"}
    assert not validate(plain, schema, raise_on_error=False)
    for address in ("ada@mole.example", "of ada@mole.example", "/data/ada@mole.example/leads.csv"):
        assert validate({**plain, field: address}, schema, raise_on_error=False)
