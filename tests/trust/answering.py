"""A service that gives one answer to everything."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

__all__ = ["answering"]


@contextmanager
def answering(body: bytes, status: int = 200, heard: list[str] | None = None, **headers: str) -> Iterator[int]:
    """Runs it.

    Args:
        body: Of the answer.
        status: Of the answer.
        heard: Gets what is asked, where it is given.
        **headers: Of the answer, with _ for -.

    Yields:
        Its port.
    """

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Gives the answer."""
            if heard is not None:
                heard.append(f"{self.path} {self.headers}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            # The client may have had enough before the end.
            with suppress(OSError):
                self.wfile.write(body)

        do_POST = do_CONNECT = do_GET  # noqa: N815  # their names there

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
