"""Answers that nobody should send: each gives a clear error, in bounded memory, and no request goes astray."""

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from pydantic import ValidationError

from bouncer.accounts.call_statistics import Call
from bouncer.api.answers import BatchCreated, verdicts_in
from bouncer.api.client import BouncerClient
from bouncer.errors import BouncerFlowsError, UploadOutcomeUnknown
from tests.bouncer.api.caller import Gate

_QUANTITY = 100
# What is kept of an answer, what httpx and zlib hold on the way, and room for the rest of the test.
_MOST_MEMORY = 30_000_000
_MEGABYTES = 200


class _Answering(ThreadingHTTPServer):
    """Gives one answer to everything."""

    daemon_threads = True

    def __init__(self, body: Iterator[bytes], headers: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body = body
        self.headers = headers
        self.paths: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Answering

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        # The client has had enough before the end.
        with suppress(OSError):
            for piece in self.server.body:
                self.wfile.write(piece)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def _answering(body: Iterator[bytes], **headers: str) -> Iterator[_Answering]:
    with _Answering(body, {name.replace("_", "-"): value for name, value in headers.items()}) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def _call(server: _Answering, call: Call, batch_id: str = "some-batch") -> Any:
    async def source() -> str:
        return "some-key"

    async def nothing() -> None:
        pass

    async with BouncerClient(f"http://127.0.0.1:{server.server_port}/v1.1", source, Gate()) as client:
        match call:
            case Call.CREATE:
                return await client.create_batch(["anna@example.com"], sending=nothing, refused=nothing)
            case Call.STATUS:
                return await client.batch_progress(batch_id)
            case Call.DOWNLOAD:
                return await client.download(batch_id, _QUANTITY)
            case Call.FINISH:
                return await client.finish(batch_id)
            case Call.VERIFY:
                return await client.verify("anna@example.com")
            case _:
                return await client.credits()


def _zeros() -> Iterator[bytes]:
    return (bytes(1 << 20) for _ in range(_MEGABYTES))


def _packed_with_more_behind() -> Iterator[bytes]:
    yield gzip.compress(b"[]")
    yield from _zeros()


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bouncer.api.client.ATTEMPTS", 1)


@pytest.mark.parametrize("call", [Call.CREATE, Call.STATUS, Call.DOWNLOAD, Call.CREDITS])
@pytest.mark.parametrize("packing", ["", "gzip", "gzip, gzip", "deflate", "br", "zstd", "gzip, identity", "gzip+"])
async def test_bombs(call: Call, packing: str) -> None:
    """200 MB of answer, packed or behind what is packed, are refused with 30 MB of memory at most."""
    body = _zeros()
    if packing == "gzip+":
        packing, body = "gzip", _packed_with_more_behind()
    elif packing.startswith("gzip"):
        body = _packed(body)
    if packing == "gzip, gzip":
        body = iter([gzip.compress(b"".join(body))])
    elif packing == "deflate":
        body = iter([zlib.compress(bytes(_MEGABYTES << 20))])
    headers = {"Content_Encoding": packing} if packing else {}
    with _answering(body, **headers) as server:
        tracemalloc.start()
        try:
            with pytest.raises(BouncerFlowsError):
                await _call(server, call)
            assert tracemalloc.get_traced_memory()[1] < _MOST_MEMORY
        finally:
            tracemalloc.stop()


async def test_packed_answers_are_understood() -> None:
    """What is packed as it was asked for is unpacked, also where it comes in pieces."""
    packed = gzip.compress(b'{"credits": 41}')
    with _answering(iter([packed[:7], packed[7:]]), Content_Encoding="gzip") as server:
        assert await _call(server, Call.CREDITS) == 41


async def test_packed_answers_that_end_early_are_refused() -> None:
    """A cut in the middle of what is packed is no answer, even where what came out of it so far would be one."""
    packed = gzip.compress(b'{"credits": 41}')
    for cut in (packed[:-4], packed[: len(packed) // 2], b"\x1f\x8b\x08"):
        with _answering(iter([cut]), Content_Encoding="gzip") as server, pytest.raises(BouncerFlowsError):
            await _call(server, Call.CREDITS)


_DEEP = b'[{"email": "a@b.com", "domain": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}]"


@pytest.mark.parametrize("call", list(Call)[:5])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe\x00", id="no UTF-8"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[[[[[]]]]]", id="lists"),
        pytest.param(b"[" * 100_000, id="deep lists"),
        pytest.param(_DEEP, id="deep objects"),
        pytest.param(b'{"batchId": {}, "status": [], "credits": "many"}', id="wrong types"),
        pytest.param(b'{"credits": ' + b"9" * 5000 + b"}", id="a huge number"),
        pytest.param(b'{"credits": 1, "credits": 2, "batchId": "a", "batchId": "b"}', id="duplicate keys"),
        pytest.param(b'"' + b"x" * 900_000 + b'"', id="a long text"),
        pytest.param(b"<html>502</html>", id="a page"),
    ],
)
async def test_bodies(call: Call, body: bytes) -> None:
    """An odd body is understood or refused with an error of this project, and with no other."""
    with _answering(iter([body])) as server, suppress(BouncerFlowsError):
        await _call(server, call)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"message": "try again later"}',
        b'{"email": "anna@example.com"}',
        b'{"email": "anna@example.com", "status": "unknown"}',
        b'{"email": "anna@example.com", "reason": "timeout"}',
        b'{"status": "deliverable", "reason": "accepted_email"}',
        b'{"email": "anna@example.com", "status": null, "reason": "timeout"}',
    ],
)
async def test_an_answer_in_real_time_without_a_verdict(body: bytes) -> None:
    """It may have been paid for or not; once it was stored as an unknown address."""
    with _answering(iter([body])) as server, pytest.raises(UploadOutcomeUnknown, match="no verdict"):
        await _call(server, Call.VERIFY)


@pytest.mark.parametrize(("sent", "taken"), [("abc-DEF_9", "abc-DEF_9"), (12, "12"), ("x" * 50, "x" * 50)])
def test_ids_that_can_be_used(sent: object, taken: str) -> None:
    """An id is a short text, or a number that is taken for one."""
    assert BatchCreated.model_validate({"batchId": sent}).batch_id == taken


@pytest.mark.parametrize("batch_id", ["", "..", "../credits", "a b", "a\nb", "😀", "x" * 51, "?a=b", None, [], {}])
def test_ids_that_lead_elsewhere(batch_id: object) -> None:
    """An id becomes a part of addresses and of the database, so it must not be more than an id."""
    with pytest.raises(ValidationError):
        BatchCreated.model_validate({"batchId": batch_id})


async def test_an_id_stays_one_part_of_the_address() -> None:
    """Whatever was stored as an id, no request goes to another path for it."""
    with _answering(iter([b'{"status": "completed"}'])) as server:
        await _call(server, Call.STATUS, "a/../../credits?x=#y")
        assert server.paths == ["/v1.1/email/verify/batch/a%2F..%2F..%2Fcredits%3Fx%3D%23y?with-stats=true"]


@pytest.mark.parametrize(
    ("body", "provider"),
    [
        pytest.param(b'[{"email": "a@b.com", "provider": "x\\ud83d"}]', "x\ufffd", id="half a pair"),
        pytest.param(b'[{"email": "a@b.com", "provider": "\\udc00\\ud83d\\ude00"}]', "\ufffd😀", id="half, then whole"),
        pytest.param(
            b'[{"email": "a@b.com", "provider": "\\\\ud83d \\ud83d"}]', "\\ud83d \ufffd", id="an escaped escape"
        ),
        pytest.param(b'[{"email": "a@b.com", "provider": "x\xff"}]', "x\ufffd", id="no UTF-8"),
    ],
)
def test_characters_that_are_none(body: bytes, provider: str) -> None:
    """One name in odd characters once kept a batch of 10,000 from ever being loaded."""
    (verdict,) = verdicts_in(body)
    assert (verdict.email, verdict.provider) == ("a@b.com", provider)


@pytest.mark.parametrize("body", [b'[{"email": "a@b.com", "provider": "x\xff"}', b'[{"email": "\\ud83d', b"\xff"])
def test_odd_characters_do_not_hide_a_cut(body: bytes) -> None:
    """What is mended is a character, never an end that is missing."""
    with pytest.raises(ValidationError):
        verdicts_in(body)
