"""Passwords and signatures that people write into URLs of lists, results and servers."""

import os
from pathlib import Path

import pytest
from prefect import get_client

from bouncer.errors import InputRefused
from bouncer.files.lists.destinations import place_of_result, refuse_overwriting
from bouncer.files.lists.sources import name_of, opened_list
from bouncer.safe_urls import without_secrets
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.conftest import SetUpAccount
from tests.deployments.running_commands import run
from tests.flows.runs import events
from tests.trust.answering import answering


@pytest.mark.scenario
@on_sqlite
async def test_no_run_keeps_what_is_secret_in_the_url_of_a_list(
    set_up_account: SetUpAccount, database_url: str, tmp_path: Path
) -> None:
    """Password and signature were a parameter of the run, which whoever may use the Prefect server reads."""
    await set_up_account()
    environment = {**os.environ, "DATABASE_URL": database_url, "COLUMNS": "200"}
    with answering(b"email\nada@example.com\n") as port:
        url = f"http://lister:markedpassword@127.0.0.1:{port}/leads.csv?signature=markedsignature"
        ended = run(["verify", url, str(tmp_path / "result.csv")], environment)
    assert ended.code == 0, ended.err
    assert "marked" not in ended.out + ended.err
    assert (tmp_path / "result.csv").read_text().count("\n") == 2
    async with get_client() as client:
        kept = repr(
            [
                *await client.read_flow_runs(),
                *await client.read_logs(),
                *await client.read_artifacts(),
                *await events(""),
            ]
        )
    assert "leads.csv" in kept
    assert "marked" not in kept


@pytest.mark.parametrize(
    "url",
    [
        "s3://markedkey:markedpassword@bucket",
        "ftp://user:markedpassword@127.0.0.1:1/",
        "nosuch://user:markedpassword@host",
        "zip://a.csv::ftp://user:markedpassword@127.0.0.1:1",
        "http://user:markedpassword@[::1",
        "http://user:marked@password@127.0.0.1:1/?signature=marked",
        "http://127.0.0.1:1/list.csv#marked",
        "http://user:markedpass/marked@127.0.0.1:1/list.csv",
        "http://user:markedpass/marked@127.0.0.1:1",
        "http://user:markedpass?marked@127.0.0.1:1",
        "http://user:markedpass#marked@127.0.0.1:1/list.csv",
        "ftp://user:markedpass::marked@127.0.0.1:1/list.csv",
    ],
)
def test_a_url_without_a_path_does_not_name_a_list_by_its_password(url: str) -> None:
    """What stands behind the last slash was shown, and became the name of the request."""
    assert "marked" not in name_of(url)
    assert "marked" not in without_secrets(url)
    with pytest.raises(InputRefused) as refused, opened_list(url):
        pass
    assert "marked" not in str(refused.value)


def test_a_result_at_a_url_of_this_machine_is_a_file_like_any_other(tmp_path: Path) -> None:
    """``file://`` went by everything that guards files: it overwrote without --force, and through links of others."""
    mine = tmp_path / "mine.csv"
    mine.write_text("precious")
    for system in ("file", "local", "FILE"):
        place = place_of_result("list.csv", f"{system}://{mine}")
        assert place == str(mine)
        with pytest.raises(InputRefused, match="is there already"):
            refuse_overwriting(place)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com:8443/@ann/list.csv",
        "https://[::1]:8443/@ann/list.csv",
        "s3://bucket/lists@home/a:b/list.csv",
    ],
)
def test_a_url_without_a_secret_stays_as_it_is(url: str) -> None:
    """A list is fetched again by what is kept of it."""
    assert without_secrets(url) == url


@pytest.mark.parametrize(
    "result",
    [
        "ftp://user:marked@host/result.csv",
        "ftp://user:markedpass/marked@host/result.csv",
        "simplecache::file:///tmp/marked.csv",
    ],
)
def test_a_result_is_not_sent_by_a_password_that_the_run_would_show(result: str) -> None:
    """It was a parameter, a line in the log, an artifact, and stood in the table of lists."""
    with pytest.raises(InputRefused) as refused:
        place_of_result("list.csv", result)
    assert "marked" not in str(refused.value)


@pytest.mark.parametrize("place", ["~nobody-here/list.csv", "http://127.0.0.1:1/..", "http://127.0.0.1:1/."])
def test_a_place_that_cannot_be_is_no_traceback(place: str) -> None:
    """Python's own paths raise at a home of nobody, and at a name of nothing but dots."""
    assert Path(place_of_result(place, None)).name
    with pytest.raises(InputRefused), opened_list(place):
        pass
