"""A server for Bouncer's callback to the probe."""

import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bouncer.errors import SettingRefused

__all__ = ["Listener", "listening"]

_MOST_BYTES = 65_536
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class Listener:
    """Callbacks that came, and the address for them.

    Attributes:
        url: The address that Bouncer is told. It ends in a secret, or any stranger could pass for Bouncer.
        heard: Set once there was a call.
        calls: The headers, in lower case, and the body of each call.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[tuple[dict[str, str], str]] = []
        self.heard = threading.Event()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Says nothing: whoever hangs up in between is no concern of the terminal's."""


@contextmanager
def listening(host: str, port: int, url: str | None) -> Iterator[Listener]:
    """Listens for callbacks.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        url: Where Bouncer can reach it, or None for this machine's own address.

    Yields:
        What is heard.

    Raises:
        SettingRefused: The port cannot be used.
    """
    listener = Listener("")
    token = secrets.token_hex(32)

    class Receiver(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            told = self.headers.get("content-length") or "0"
            if self.path.partition("?")[0].rpartition("/")[2] != token or not _NUMBER.fullmatch(told):
                self.send_error(404)
                return
            length = min(int(told), _MOST_BYTES)
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.calls.append((headers, self.rfile.read(length).decode(errors="replace")))
            listener.heard.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            """Says nothing: the path may be a secret."""

    try:
        # It has a thread for each caller: one who is silent keeps nobody else waiting.
        server = _Server((host, port), Receiver)
    except OSError as error:
        raise SettingRefused(f"port {port} cannot be used ({error.strerror}); choose another one") from None
    listener.url = f"{(url or f'http://{host}:{server.server_port}').rstrip('/')}/{token}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
