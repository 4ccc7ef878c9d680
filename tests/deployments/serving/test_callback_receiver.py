"""The receiver of callbacks: it believes a token and nothing else, and tells strangers nothing."""

import logging
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine

from bouncer.batches import callbacks
from bouncer.errors import SettingRefused
from bouncer.storage.engine import write
from deployments.serving.callback_receiver import receiving_callbacks
from deployments.settings import Settings
from tests.bouncer.contacts import batch_rows, small_batches, take
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.ports import free_port

pytestmark = on_sqlite

_ID = "65f0c1a2b3d4e5f60718293a"


@pytest.fixture
def token(engine: Engine) -> str:
    """The token of the one batch that there is."""
    return write(engine, callbacks.ensure_token, take(engine, small_batches(engine, 1)[0]))


@pytest.fixture
def receiver(engine: Engine) -> Iterator[httpx.Client]:
    """A client of a receiver that listens."""
    with (
        receiving_callbacks(Settings(callback_port=free_port()), engine) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/hook", timeout=10) as client,
    ):
        yield client


def test_a_call_with_the_token_is_written_down(engine: Engine, token: str, receiver: httpx.Client) -> None:
    """Whatever method and path Bouncer uses, the row of the token's batch gets the time and the id."""
    assert receiver.post(f"/{token}", json={"batchId": _ID}).status_code == 200
    row = batch_rows(engine)[0]
    assert (row.callback_ids, row.callback_ts is None) == (_ID, False)
    assert receiver.get(f"/{token}", params={"id": "another1"}).status_code == 200
    assert batch_rows(engine)[0].callback_ids == "another1"


@pytest.mark.parametrize("path", ["/", "/favicon.ico", f"/{'0' * 64}", "/../../etc/passwd", "/%00"])
def test_strangers_are_told_nothing(engine: Engine, token: str, receiver: httpx.Client, path: str) -> None:
    """Without a token every call gets the same empty 404, whatever its method."""
    for method in ("GET", "POST", "DELETE"):
        answer = receiver.request(method, path, content=b"x" * 10_000)
        assert (answer.status_code, answer.content) == (404, b"")
        assert "server" not in answer.headers
    assert receiver.delete(f"/{token}").status_code == 404
    assert batch_rows(engine)[0].callback_ts is None


def test_a_body_that_is_too_long_is_not_read(engine: Engine, token: str, receiver: httpx.Client) -> None:
    """A callback with megabytes still makes the next poll come at once, but what it says is ignored."""
    body = b'{"batchId": "%s", "more": "%s"}' % (_ID.encode(), b"x" * 2_000_000)
    assert receiver.post(f"/{token}", content=body).status_code == 200
    row = batch_rows(engine)[0]
    assert (row.callback_ids, row.callback_ts is None) == (None, False)


def test_nothing_of_a_call_is_logged(token: str, receiver: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor the body is in any log, not even where everything is logged; nor does our client tell."""
    caplog.set_level(logging.DEBUG)
    receiver.post(f"/{token}?id={_ID}", json={"email": "someone.secret@example.com"})
    told = [record.getMessage() for record in caplog.records if record.name != "httpx"]
    assert not any(token in line or _ID in line or "secret" in line for line in told)
    assert not any(_ID in record.getMessage() for record in caplog.records)


def test_a_second_process_leaves_the_port_to_the_first(engine: Engine) -> None:
    """Where serve receives already, ingest beside it does not fail; with no port nothing listens."""
    settings = Settings(callback_port=free_port())
    with receiving_callbacks(settings, engine) as first, receiving_callbacks(settings, engine) as second:
        assert (first, second) == (settings.callback_port, None)
    with receiving_callbacks(Settings(), engine) as off:
        assert off is None


def test_an_address_of_another_machine_is_refused_in_words(engine: Engine) -> None:
    """A CALLBACK_HOST that is not this machine's is told in one line."""
    settings = Settings(callback_port=free_port(), callback_host="192.0.2.1")
    with pytest.raises(SettingRefused, match=r"CALLBACK_HOST 192\.0\.2\.1"), receiving_callbacks(settings, engine):
        pass
