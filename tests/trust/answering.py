"""A service that gives one answer to everything."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["answering"]


@contextmanager
def answering(body: bytes, status: int = 200, **headers: str) -> Iterator[int]:
    """Runs it.

    Args:
        body: Of the answer.
        status: Of the answer.
        **headers: Of the answer, with _ for -.

    Yields:
        Its port.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Gives the answer."""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            # The client may have had enough before the end.
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
