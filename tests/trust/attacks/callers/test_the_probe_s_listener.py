"""Strangers call where ``bouncer-flows probe`` waits for Bouncer's callback."""

import socket
from contextlib import ExitStack

import httpx
import pytest

from bouncer.probe.listener import listening


def test_a_stranger_is_not_taken_for_bouncer_by_the_probe(capsys: pytest.CaptureFixture[str]) -> None:
    """The first call decided what the probe reports; silence kept all out, and a length of -1 was read for ever."""
    with listening("127.0.0.1", 0, None) as listener:
        port = httpx.URL(listener.url).port
        with ExitStack() as silent:
            for said in (b"", b"POST / HT", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
                silent.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(said)
            for length in ("-1", "abc", "1e9", "5"):
                path = httpx.URL(listener.url).path if length != "5" else "/"
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nhello"
                with socket.create_connection(("127.0.0.1", port)) as caller:
                    caller.settimeout(30)
                    caller.sendall(head.encode())
                    assert b" 404 " in caller.recv(100)
            assert not listener.heard.is_set()
            assert httpx.post(listener.url, content=b"true", timeout=30).status_code == 204
        assert [body for _, body in listener.calls] == ["true"]
    assert capsys.readouterr().err == ""
