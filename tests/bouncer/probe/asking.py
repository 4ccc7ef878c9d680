"""Runs the probe against the sandbox, behind a wire that can change what is answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx
import orjson

from bouncer.probe.listener import listening
from bouncer.probe.run import ProbeReport, probe
from bouncer.probe.transcript import Transcript
from bouncer.probe.wire import Wire
from tests.bouncer.api.caller import Gate
from tests.sandbox_process import SandboxHandle, running_sandbox

__all__ = ["Alter", "Answer", "asked", "probed_sandbox"]


class Answer:
    """An answer of the sandbox on its way.

    Attributes:
        call: Method and path without the version and the batch's id, such as ``POST /email/verify/batch/ID/finish``.
        body: Its JSON.
    """

    def __init__(self, request: httpx.Request, status: int, body: Any) -> None:
        parts = request.url.path.removeprefix("/v1.1").split("/")
        self.call = f"{request.method} {'/'.join('ID' if len(part) == 24 else part for part in parts)}"
        self.key = request.headers.get("x-api-key")
        self.status = status
        self.body = body


Alter = Callable[[Answer], None]


class _Altering(httpx.AsyncBaseTransport):
    def __init__(self, alter: Alter) -> None:
        self._under = httpx.AsyncHTTPTransport()
        self._alter = alter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._under.handle_async_request(request)
        raw = await response.aread()
        answer = Answer(request, response.status_code, orjson.loads(raw) if raw else None)
        self._alter(answer)
        headers = {name: value for name, value in response.headers.items() if name in {"content-type", "retry-after"}}
        body = b"" if answer.body is None else orjson.dumps(answer.body)
        return httpx.Response(answer.status, headers=headers, stream=_Whole(body), request=request)

    async def aclose(self) -> None:
        await self._under.aclose()


class _Whole(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> Any:
        yield self._body


@contextmanager
def probed_sandbox(**settings: Any) -> Iterator[SandboxHandle]:
    """A sandbox as documented, but for its speed."""
    with running_sandbox(**{"fixed_seconds": 1.0, "finish_seconds": 0.1, **settings}) as sandbox:
        yield sandbox


async def asked(
    sandbox: SandboxHandle, alter: Alter = lambda _answer: None, *, callbacks: bool = True
) -> tuple[ProbeReport, Transcript]:
    """Runs the probe.

    Args:
        sandbox: The sandbox.
        alter: What happens to each answer on its way.
        callbacks: Whether the probe can be called.
    """
    transcript = Transcript(sandbox.key)
    async with httpx.AsyncClient(transport=_Altering(alter)) as http:
        wire = Wire(http, sandbox.url, sandbox.key, Gate(), transcript)
        with listening("127.0.0.1", 0, None) if callbacks else nullcontext() as listener:
            return await probe(wire, listener=listener, pause=0.1, limit=20), transcript
