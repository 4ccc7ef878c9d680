"""Bouncer's answers as somebody in its place would give them: odd redirects, figures below nothing, odd statuses."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine

from bouncer.api.answers import BatchProgress
from bouncer.api.client import BouncerClient
from bouncer.errors import BouncerFlowsError
from bouncer.files.export_columns import COLUMNS, line
from bouncer.files.lists.destinations import written_rows
from bouncer.files.lists.sources import opened_list
from tests.bouncer.api.caller import Gate
from tests.bouncer.contacts import claim, load_verdicts, queue, queue_rows, verdicts, verify
from tests.bouncer.storage.existing_tables import on_sqlite


class _Handler(BaseHTTPRequestHandler):
    location = ""

    def do_GET(self) -> None:
        self.send_response(308)
        self.send_header("Location", self.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def _redirecting(location: str) -> Iterator[int]:
    handler = type("Handler", (_Handler,), {"location": location})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    "location", ["data:,x", "mailto:x", "http:x", "http://xn--a-/x", "http://[::1", "https://e.example/"]
)
async def test_an_odd_redirect_is_an_answer_like_others(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads where it leads although it is not followed, and raised errors that nobody caught."""
    monkeypatch.setattr("bouncer.api.client.ATTEMPTS", 1)

    async def source() -> str:
        return "some-key"

    with _redirecting(location) as port:
        async with BouncerClient(f"http://127.0.0.1:{port}/v1.1", source, Gate()) as client:
            with pytest.raises(BouncerFlowsError):
                await client.batch_progress("some-batch")


def test_nothing_costs_less_than_nothing() -> None:
    """A batch of -1,000,000 credits made room for a million below every cap."""
    progress = BatchProgress.model_validate_json(
        '{"status": "completed", "credits": -1000000, "processed": -3, "quantity": -1}'
    )
    assert (progress.credits, progress.processed, progress.quantity) == (None, None, None)


def test_details_are_words_that_no_spreadsheet_runs(tmp_path: Path) -> None:
    """A list where a word should be was no cell that a workbook has, and a formula for who takes semicolons."""
    domain = {"name": "\x1b[2Jexample.com", "acceptAll": ["x;=1+1|2"], "disposable": {"a;": "@SUM(1)"}, "free": True}
    cells = [1, "a@example.com", *[None] * 4, json.dumps(domain), *[None] * 9]
    for name in ("out.csv", "out.xlsx"):
        with written_rows(str(tmp_path / name)) as put:
            put(COLUMNS, [line(cells)])
    with (tmp_path / "out.csv").open(newline="") as file:
        _, written = csv.reader(file, delimiter=";")
    assert not [cell for cell in written if cell.lstrip(" '").startswith(tuple("=+@-")) and not cell.startswith("'")]
    assert "\x1b" not in "".join(written)
    with opened_list(str(tmp_path / "out.xlsx")) as source:
        assert "=1+1" in source.path.read_text()


@on_sqlite
def test_what_is_shown_of_a_verdict_is_no_address_and_moves_no_cursor(engine: Engine) -> None:
    """Statuses and reasons stand in artifacts, and ``export -`` on a terminal."""
    queue(engine, ["a@example.com", "b@example.com"])
    (batch,) = claim(engine, batches=1).batches
    odd = verdicts(["a@example.com"], status="eve@leak.example", reason="\x1b]8;;http://e\x07 eve@leak.example")
    load_verdicts(engine, verify(engine, batch.id), [*odd, *verdicts(["b@example.com"], status=" Undeliverable")])
    first, second = queue_rows(engine)
    shown = f"{first.bouncer_status} {first.bouncer_reason}"
    assert "eve@" not in shown
    assert shown.isprintable()
    assert second.bouncer_status == "undeliverable"
