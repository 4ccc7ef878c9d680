"""Strangers call where Bouncer or Prometheus should: with guesses, odd requests, silence, and names of their own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest
from sqlalchemy import Engine

from bouncer.batches import callbacks
from bouncer.errors import SettingRefused
from bouncer.storage.engine import write
from deployments.protection import http_server
from deployments.serving import callback_receiver
from deployments.serving.callback_receiver import receiving_callbacks
from deployments.serving.metrics_endpoint import serving_metrics
from deployments.settings import Settings
from tests.bouncer.contacts import batch_rows, small_batches, take
from tests.bouncer.storage.existing_tables import on_sqlite
from tests.ports import free_port

pytestmark = on_sqlite

_REBOUND = ("evil.example", "evil.example:8026", "127.0.0.1.evil.example", "localhost.evil.example", "a@b", "[", "")


@pytest.fixture
def token(engine: Engine) -> str:
    """The token of the one batch that there is."""
    return write(engine, callbacks.ensure_token, take(engine, small_batches(engine, 1)[0]))


@pytest.fixture
def port(engine: Engine) -> Iterator[int]:
    """Where the receiver listens."""
    with receiving_callbacks(Settings(callback_port=free_port()), engine) as port:
        assert port is not None
        yield port


def test_one_stranger_does_not_silence_bouncer(
    engine: Engine, token: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy all have one address: after 30 guesses of anybody, Bouncer's own calls were not heard either."""
    monkeypatch.setattr(callback_receiver, "LOOKS_PER_SECOND", 3)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        assert {client.post(f"/{guess:064x}").status_code for guess in range(50)} == {404}
        assert client.post(f"/{token}").status_code == 200
    assert batch_rows(engine)[0].callback_ts is not None


_LISTEN = """
import os, socket, sys, time
os.setgroups([]), os.setgid(int(sys.argv[1])), os.setuid(int(sys.argv[1]))
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs of somebody else")
@pytest.mark.parametrize("user", [0, 65_534])
def test_another_user_of_the_machine_hears_no_calls(engine: Engine, user: int) -> None:
    """Taken for another process of ours, he heard all tokens, and nobody was told."""
    command = [sys.executable, "-I", "-S", "-c", _LISTEN, str(user)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stranger:
        try:
            assert stranger.stdout is not None
            receiving = receiving_callbacks(Settings(callback_port=int(stranger.stdout.readline())), engine)
            if user:
                with pytest.raises(SettingRefused, match="another user of this machine listens"), receiving:
                    pass
            else:
                with receiving as port:
                    assert port is None
        finally:
            stranger.kill()


def test_guesses_do_not_keep_the_database_busy(
    token: str, port: int, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    """However many guesses there are, a few a second are looked up."""
    looked: list[str] = []
    known = callbacks.is_known
    monkeypatch.setattr(callbacks, "is_known", lambda *given: looked.append(given[1]) or known(*given))
    began = time.monotonic()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        for guess in range(200):
            assert client.post(f"/{guess:064x}").status_code == 404
    assert len(looked) <= callback_receiver.LOOKS_PER_SECOND * (time.monotonic() - began + 2)


@pytest.mark.parametrize("query", ["&".join(f"f{n}={n}" for n in range(500)), "a" * 20_000, "%", "&&&=;=", "a=%ff%00"])
def test_an_odd_query_string_is_a_call_all_the_same(engine: Engine, token: str, port: int, query: str) -> None:
    """With more than a hundred fields there was a traceback, and the call was lost."""
    assert httpx.post(f"http://127.0.0.1:{port}/{token}?{query}", timeout=10).status_code == 200
    assert batch_rows(engine)[0].callback_ts is not None


@pytest.mark.parametrize("name", ["[", "[::1", "evil.example/x?", "\xff", ""])
def test_an_odd_name_is_a_call_all_the_same(
    engine: Engine, token: str, port: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There was a traceback in the log for each request of any stranger, and Bouncer's own was lost."""
    headers = {b"Host": name.encode("latin-1")}
    assert httpx.post(f"http://127.0.0.1:{port}/{1:064x}", headers=headers, timeout=10).status_code == 404
    assert httpx.post(f"http://127.0.0.1:{port}/{token}", headers=headers, timeout=10).status_code == 200
    assert batch_rows(engine)[0].callback_ts is not None
    assert not [record for record in caplog.records if record.exc_info]


def test_silent_connections_do_not_fill_the_receiver(engine: Engine, token: str, port: int) -> None:
    """A hundred and more that say nothing kept Bouncer out, for as long as they liked."""
    with ExitStack() as open_ones:
        for _ in range(3 * http_server.MOST_SILENT):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert httpx.post(f"http://127.0.0.1:{port}/{token}", timeout=10).status_code == 200
    assert batch_rows(engine)[0].callback_ts is not None


def test_a_request_that_dawdles_is_hung_up_on(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes letter by letter held its connection for ever; so did one that does not come."""
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.5)
    for said in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "):
        with socket.create_connection(("127.0.0.1", port)) as dawdler:
            dawdler.settimeout(10)
            dawdler.sendall(said)
            with suppress(ConnectionResetError):
                assert dawdler.recv(100) == b""


def test_one_connection_makes_one_request(port: int) -> None:
    """Else it could dawdle in the second."""
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.settimeout(10)
        caller.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b"".join(iter(lambda: caller.recv(4096), b""))
    assert said.count(b"HTTP/1.1 404") == 1


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    ],
)
def test_nonsense_is_no_line_of_the_log(port: int, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can reach the receiver filled the log, and the disk."""
    with socket.create_connection(("127.0.0.1", port)) as caller, suppress(ConnectionError):
        caller.settimeout(10)
        caller.sendall(said)
        while caller.recv(4096):
            pass
    assert not [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")]


@pytest.mark.parametrize("name", _REBOUND)
def test_a_page_reads_no_figures(engine: Engine, name: str) -> None:
    """Its name can be made to lead to this machine (DNS rebinding); the request still has that name."""
    with serving_metrics(Settings(metrics_port=free_port()), engine) as port:
        url = f"http://127.0.0.1:{port}/metrics"
        refused = httpx.get(url, headers={"Host": name}, timeout=30)
        assert (refused.status_code, refused.content) == (404, b"")
        for own in (f"127.0.0.1:{port}", "localhost", "[::1]:9464", "metrics:9464", socket.gethostname()):
            assert httpx.get(url, headers={"Host": own}, timeout=30).status_code == 200, own


@pytest.mark.parametrize("promised", [b"Content-Length: 9", b"Transfer-Encoding: chunked", b"Expect: 100-continue"])
def test_a_body_that_does_not_come_keeps_nobody_from_the_figures(engine: Engine, promised: bytes) -> None:
    """A hundred such requests stayed for good, and Prometheus was told 503."""
    with serving_metrics(Settings(metrics_port=free_port()), engine) as port:
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.settimeout(30)
            caller.sendall(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n" + promised + b"\r\n\r\n")
            said = b"".join(iter(lambda: caller.recv(4096), b""))
        assert said.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "accept", [b"\xff\xfe;q=x", b"application/openmetrics-text;version=abc;escaping", b"text/plain;version=a.b"]
)
def test_no_header_makes_a_traceback_of_the_figures(
    engine: Engine, accept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's own reader of the header stumbled, with twenty lines in the log for each request."""
    with serving_metrics(Settings(metrics_port=free_port()), engine) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={b"Accept": accept}, timeout=30)
    assert answer.status_code == 200
    assert "bouncer_flows_database_up 1.0" in answer.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("name", _REBOUND)
def test_a_page_calls_nobody_back(engine: Engine, token: str, name: str) -> None:
    """Where the public address is known, calls come by its name, or from the proxy by an address."""
    settings = Settings(callback_port=free_port(), callback_url="https://hooks.example.com/bouncer")
    with receiving_callbacks(settings, engine) as port:
        url = f"http://127.0.0.1:{port}/{token}"
        assert httpx.post(url, headers={"Host": name}, timeout=10).status_code == 404
        assert batch_rows(engine)[0].callback_ts is None
        for own in ("hooks.example.com", f"127.0.0.1:{port}"):
            assert httpx.post(url, headers={"Host": own}, timeout=10).status_code == 200, own
