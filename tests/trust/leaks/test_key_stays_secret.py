"""The API key goes to Bouncer and to nobody else."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr, ValidationError

from blocks.bouncer_account import BouncerAccount
from bouncer.api.client import BouncerClient
from bouncer.errors import BouncerUnavailable, SettingRefused
from tests.bouncer.api.caller import Gate
from tests.deployments.running_commands import run
from tests.trust.database.certificates import Authority

_KEY = "marked-key"


class _Listener(HTTPServer):
    """Answers with credits, and remembers the keys that it was given."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["x-api-key"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"credits": 7}')

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def _listening(context: ssl.SSLContext | None = None) -> Iterator[_Listener]:
    with _Listener() as server:
        if context is not None:
            # The handshake comes with the first byte, in the thread.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def _credits(url: str, key: str = _KEY) -> int:
    async def source() -> str:
        return key

    async with BouncerClient(url, source, Gate()) as client:
        return await client.credits()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Authority, ssl.SSLContext]:
    """An authority that nobody knows, and a server's context with its certificate."""
    authority = Authority(tmp_path, "authority")
    own = authority.sign("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.key)
    return authority, context


async def test_no_setting_switches_the_certificate_check_off(
    tls: tuple[Authority, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes other programs accept any certificate is no reason to send the key."""
    monkeypatch.setattr("bouncer.api.client.ATTEMPTS", 1)
    for name, value in {
        "PYTHONHTTPSVERIFY": "0",
        "SSL_VERIFY": "false",
        "SSL_CERT_FILE": "",
        "CURL_CA_BUNDLE": "",
        "REQUESTS_CA_BUNDLE": "",
        "NODE_TLS_REJECT_UNAUTHORIZED": "0",
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
        "BOUNCER_API_VERIFY": "false",
    }.items():
        monkeypatch.setenv(name, value)
    with _listening(tls[1]) as server:
        with pytest.raises(BouncerUnavailable, match="ConnectError"):
            await _credits(f"https://127.0.0.1:{server.server_port}/v1.1")
        assert server.keys == []


async def test_an_authority_of_ones_own_is_trusted_where_it_is_named(
    tls: tuple[Authority, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE adds a company's authority; the certificate must still be its own, for that name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0].file))
    with _listening(tls[1]) as server:
        # Not through stays_here, which leaves the environment alone.
        monkeypatch.setattr("bouncer.api.client.stays_here", lambda _url: False)
        assert await _credits(f"https://127.0.0.1:{server.server_port}/v1.1") == 7
        assert server.keys == [_KEY]


async def test_a_proxy_of_the_environment_does_not_read_what_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for http:// would see the key on its way to a service on this machine."""
    with _listening() as proxy, _listening() as service:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        assert await _credits(f"http://127.0.0.1:{service.server_port}/v1.1") == 7
        assert (proxy.keys, service.keys) == ([], [_KEY])


@pytest.mark.parametrize(
    "url",
    [
        "http://api.usebouncer.com/v1.1",
        "http://10.0.0.7:8025/v1.1",
        "http://localhost.example.com/v1.1",
        "http://127.0.0.1.example.com/v1.1",
        "http://[2001:db8::1]/v1.1",
        "http://127.0.0.1@example.com/v1.1",
        "HTTP://sandbox:8025/v1.1",
    ],
)
async def test_no_key_is_sent_in_the_clear(url: str) -> None:
    """Over http:// to another machine everybody on the way could read it, so nothing is sent, and the block says so."""
    with pytest.raises(SettingRefused, match="write https://"):
        await _credits(url)
    with pytest.raises(ValidationError, match=r"write https://|it must hold no user") as refusal:
        BouncerAccount(api_key=SecretStr(_KEY), base_url=url.lower())
    assert _KEY not in str(refusal.value.errors()[0]["msg"])


@pytest.mark.parametrize("url", ["http://127.0.0.1:8025/v1.1", "http://localhost/v1.1", "http://[::1]:8025/v1.1"])
def test_this_machine_may_be_asked_without_tls(url: str) -> None:
    """What does not leave the machine can be read by nobody else."""
    assert BouncerAccount(api_key=SecretStr(_KEY), base_url=url).base_url == url


def test_a_sandbox_may_be_on_another_machine() -> None:
    """The sandbox's key opens nothing, so it may be seen."""
    assert BouncerAccount(api_key=SecretStr("sandbox-key"), base_url="http://sandbox:8025/v1.1")


@pytest.mark.usefixtures("prefect_server")
def test_setup_says_what_to_write(tmp_path: Path) -> None:
    """One line, without the key."""
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'contacts.db'}",
        "BOUNCER_API_KEY": _KEY,
        "BOUNCER_API_BASE_URL": "http://api.usebouncer.com/v1.1",
    }
    ended = run(["setup"], environment)
    assert "write https://" in ended.complaint
    assert _KEY not in ended.err
