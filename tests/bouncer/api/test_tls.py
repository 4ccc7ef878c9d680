"""Certificates are read once a process, and a server that is spoken to in the clear has none."""

import ssl

import pytest

from bouncer.api.tls import tls_of


def test_the_authorities_are_read_once() -> None:
    """Each batch has a client of its own; to read a hundred certificates for each takes longer than its requests."""
    first = tls_of("https://api.usebouncer.com/v1.1")
    assert tls_of("HTTPS://api.usebouncer.com/v1.1") is first
    assert (first.verify_mode, first.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert first.get_ca_certs()


def test_nobody_is_trusted_where_nothing_is_encrypted() -> None:
    """A server that answers with TLS after all is refused."""
    context = tls_of("http://127.0.0.1:8025/v1.1")
    assert (context.verify_mode, context.check_hostname, context.get_ca_certs()) == (ssl.CERT_REQUIRED, True, [])


def test_another_authority_counts_from_its_next_use_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that reads .env files after it has begun."""
    first = tls_of("https://api.usebouncer.com/v1.1")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")
    assert tls_of("https://api.usebouncer.com/v1.1") is not first
